// Who has claimed a flow run, by the message of its claim and by its labels.
import { describe, expect, test } from "vitest";
import type { FlowRun } from "../../src/api/wire.ts";
import { claimMessage, readClaimants } from "../../src/run/claimant.ts";
import type { RunContext } from "../../src/run/run-context.ts";

const labels = { "lictor.instance": "l-1", "lictor.host": "lh", "prefect.worker.name": "lw" };
const labelled = { instance: "l-1", host: "lh", workerName: "lw" };

function messageOf(name: string, host: string, instance: string | null): string | null {
  return claimMessage({ identity: { name }, services: { instance: { instance, host } } } as RunContext);
}

function claimantsOf(message: string | null, type = "PENDING", given: object | null = null) {
  return readClaimants({ state: { type, name: "Pending", message }, labels: given } as FlowRun);
}

describe("the claimants of a flow run", () => {
  test.each([
    ["w", "h"],
    ["it's on host 'b' (lictor c).", "host 'x'"],
    ["two\nlines", "h"],
  ])("are read back from the message of worker %j on host %j", (workerName, host) => {
    const message = messageOf(workerName, host, "h-12-0a");
    const [claimant, ...others] = claimantsOf(message);
    expect(others).toEqual([]);
    expect(claimant?.instance).toBe("h-12-0a");
    // Where the names themselves contain the words between them, the instance decides.
    if (!host.includes("'")) expect(claimant).toEqual({ workerName, host, instance: "h-12-0a" });
  });

  test("are those of the message and of the labels, in this order", () => {
    expect(claimantsOf(messageOf("w", "h", "i-1"), "PENDING", labels)).toEqual([
      { instance: "i-1", host: "h", workerName: "w" },
      labelled,
    ]);
  });

  test.each([
    ["a message of somebody else", "Claimed by me", "PENDING"],
    ["no message", null, "PENDING"],
    ["such a message in another state", messageOf("w", "h", "i-1"), "RUNNING"],
  ])("are only those of the labels with %s", (_what, message, type) => {
    expect(claimantsOf(message, type, labels)).toEqual([labelled]);
    expect(claimantsOf(message, type)).toEqual([]);
  });

  test("are not named by a worker without an instance directory", () => {
    expect(messageOf("w", "h", null)).toBeNull();
  });
});
