// A TCP relay whose connections can become half-open: no byte passes any more, and neither side is told.
import { connect, createServer, type Socket } from "node:net";
import { listenOnLoopback } from "./listen-on-loopback.ts";

/** A listening relay. */
export interface BlackHoleRelay extends AsyncDisposable {
  port: number;
  /** Makes the open connections that `choose` returns true for half-open, for ever. Returns how many. */
  swallow(choose: () => boolean): number;
  /** Ends the open connections that `choose` returns true for. Returns how many. */
  cut(choose: () => boolean): number;
}

/** Passes bytes on to a loopback port, until a connection is swallowed. */
export async function startBlackHoleRelay(targetPort: number): Promise<BlackHoleRelay> {
  const open = new Set<{ isSwallowed: boolean; cut: () => void }>();
  const server = createServer((client) => {
    const connection = { isSwallowed: false, cut: () => client.destroy() };
    open.add(connection);
    const upstream = connect(targetPort, "127.0.0.1");
    const pass = (from: Socket, to: Socket): void => {
      from.on("data", (chunk) => {
        if (!connection.isSwallowed && !to.destroyed) to.write(chunk);
      });
    };
    pass(client, upstream);
    pass(upstream, client);
    client.on("error", () => client.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => upstream.destroy());
    upstream.on("close", () => {
      if (!connection.isSwallowed) client.destroy();
    });
    client.on("close", () => open.delete(connection));
  });
  const { origin, stop } = await listenOnLoopback(server);
  return {
    port: Number(new URL(origin).port),
    swallow(choose) {
      const chosen = [...open].filter((connection) => !connection.isSwallowed && choose());
      for (const connection of chosen) connection.isSwallowed = true;
      return chosen.length;
    },
    cut(choose) {
      const chosen = [...open].filter(choose);
      for (const connection of chosen) connection.cut();
      return chosen.length;
    },
    [Symbol.asyncDispose]: stop,
  };
}
