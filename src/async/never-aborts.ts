// The signal for calls that nothing ends.
import { setMaxListeners } from "node:events";

/** A signal that never aborts. Any number of calls may listen to it at a time. */
export const neverAborts = new AbortController().signal;
setMaxListeners(0, neverAborts);
