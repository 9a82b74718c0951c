// Exit statuses in words, those of signals negative. The explanations are those of Prefect 3.9.1, which people match in state messages.
import { describe, expect, test } from "vitest";
import { exitMessage, explainExit } from "../../src/run/exit-status.ts";

type Row = [status: number, level: string, explanation: string];

const rows: Row[] = [
  [0, "info", "Process exited cleanly."],
  [
    -9,
    "info",
    "Process exited due to a SIGKILL signal. Typically caused by the operating system terminating the process for exceeding memory limits, or by manual cancellation.",
  ],
  [
    -15,
    "info",
    "Process exited due to a SIGTERM signal. Typically caused by graceful shutdown or manual cancellation.",
  ],
  [-11, "error", "Process exited with an unexpected status code."],
  [1, "error", "Process exited with a general error."],
  [2, "error", "Process exited with an unexpected status code."],
  [125, "error", "Container failed to run (Docker/OCI exit code 125)."],
  [126, "error", "Command found but not executable (permission denied)."],
  [127, "error", "Command not found."],
  [137, "error", "Process was killed, likely due to an out-of-memory (OOM) condition."],
  [
    143,
    "info",
    "Process received SIGTERM via the container runtime. This is the containerized equivalent of exit code -15.",
  ],
  [247, "error", "Process was terminated due to high memory usage."],
  [
    0xc000013a,
    "info",
    "Process was terminated due to a Ctrl+C or Ctrl+Break signal. Typically caused by manual cancellation.",
  ],
];

describe("explainExit", () => {
  test.each(rows)("status %s", (status, level, explanation) => {
    expect(explainExit(status)).toEqual({ level, explanation, resolution: expect.any(String) });
    expect(exitMessage(status, true)).toBe(`Process exited with status code: ${status}. ${explanation}`);
    expect(exitMessage(status, false, "Why.")).toBe(
      `Flow run infrastructure exited with non-zero status code ${status}. ${explanation} Why.`,
    );
  });
});
