// Processes that another worker has started: which are recognised, and that no others are ended.
import { expect, test } from "vitest";
import { findAbandonedProcess } from "../../src/infrastructure/process/abandoned-process.ts";
import { startProcess } from "../../src/process/start-process.ts";
import { signalGroup } from "../../src/process/terminate.ts";
import { untilTheEnd } from "../fault/test-socket.ts";

const flowRunId = "00000000-0000-4000-8000-00000000000a";

/** Ends what was started for the flow run; false when it is not to be found. */
async function end(id: string, identifier: string): Promise<boolean> {
  const found = await findAbandonedProcess({ poolType: "process", identifier, proof: { flowRunId: id } });
  await found?.stop("cancel", { kill: untilTheEnd, leave: untilTheEnd });
  return found !== null;
}

test("a process is ended only for the flow run it was started for", async () => {
  const child = await startProcess({
    argv: [process.execPath, "-e", "setInterval(() => 0, 1000)"],
    cwd: ".",
    env: { PREFECT__FLOW_RUN_ID: flowRunId },
    output: "ignore",
  });
  expect(await end("00000000-0000-4000-8000-00000000000b", String(child.pid))).toBe(false);
  expect(await end(flowRunId, `${child.pid}x`)).toBe(false);
  expect(signalGroup(child.pid, 0)).toBe(true);
  expect(await end(flowRunId, String(child.pid))).toBe(true);
  expect(await child.exited).toEqual({ code: null, signal: "SIGTERM" });
  expect(await end(flowRunId, String(child.pid))).toBe(false);
});

test.each(["", "0", "1", "-1", "1e3", "../1", "host:17", "99999999999999999999", String(process.pid)])(
  "an identifier like %j is nobody's",
  async (identifier) => {
    expect(await end(flowRunId, identifier)).toBe(false);
  },
);
