// The package of WebSockets, in a file that is loaded on use.
export { WebSocket } from "ws";
