// A worker on a machine where no temporary file can be written: it leaves the flow runs to others, and says so once.
import { expect, test } from "vitest";
import { logMissingDirectory, logUnkeptOutput } from "../../src/infrastructure/process/problem-logs.ts";
import { goodPoll } from "../support/api-answers.ts";
import { findFreePort } from "../support/free-port.ts";
import { LICTOR, startLictor } from "../support/lictor.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer } from "./scripted-worker.ts";
import { recordingLogger } from "./test-socket.ts";

test("a worker which has no directory for temporary files claims nothing and says so once", async () => {
  await using server = await startPoolServer({ polls: [{ body: goodPoll, always: true }] });
  // A limit of zero bytes for each file is like a full disk everywhere.
  const onFullDisk = ["bash", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "bash", ...LICTOR] as const;
  const port = await findFreePort();
  const args = ["worker", "start", "--pool", "p", "--name", "w", "--log-format", "text", "--with-healthcheck"];
  await using worker = await startLictor(args, {
    command: [...onFullDisk],
    env: {
      PREFECT_API_URL: `${server.url}/api`,
      PREFECT_WORKER_QUERY_SECONDS: "0.2",
      PREFECT_WORKER_WEBSERVER_PORT: String(port),
    },
  });
  await waitFor(() => pollTimes(server).length >= 6, { timeoutMs: 30_000, intervalMs: 20, what: "polls" });
  const health = await fetch(`http://127.0.0.1:${port}/health`);
  expect(health.status).toBe(200);
  expect(await health.json()).toMatchObject({
    machine_problem: expect.stringMatching(/^No directory for temporary files/),
  });
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const said = worker.stderr.split("\n").filter((line) => line.includes("No directory for temporary files"));
  expect(said).toEqual([expect.stringMatching(/WARN.*\/tmp cannot be written to \(EFBIG\).*no flow runs are taken\./)]);
  expect(server.requests.filter(({ path }) => path.endsWith("/set_state"))).toEqual([]);
});

test("a missing directory for temporary files is a warning per reason, and its end is said once", () => {
  const { log, records } = recordingLogger();
  const take = logMissingDirectory(log);
  const found = { kind: "found", path: "/tmp", problems: [] } as const;
  const full = { kind: "none", message: "Full." } as const;
  const readOnly = { kind: "none", message: "Read-only." } as const;
  for (const finding of [found, full, full, readOnly, readOnly, found, found, full]) take(finding);
  expect(records.map(({ level, msg }) => [level, msg])).toEqual([
    [40, "Full. Until then no flow runs are taken."],
    [40, "Read-only. Until then no flow runs are taken."],
    [30, "There is a directory for temporary files again. Flow runs are taken."],
    [40, "Full. Until then no flow runs are taken."],
  ]);
});

test("output that cannot be kept is a warning per reason, and its end is said once", () => {
  const { log, records } = recordingLogger();
  const take = logUnkeptOutput(log);
  const full = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  for (const error of [null, full, full, null, null, full]) take(error);
  expect(records.map(({ level, msg }) => [level, msg])).toEqual([
    [40, "The output of flow runs cannot be kept. It goes directly to the worker's output"],
    [30, "The output of flow runs is kept again."],
    [40, "The output of flow runs cannot be kept. It goes directly to the worker's output"],
  ]);
});
