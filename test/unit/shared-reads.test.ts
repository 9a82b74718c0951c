// Which flow runs share a read.
import { describe, expect, test } from "vitest";
import { monotonicMs } from "../../src/async/clock.ts";
import { SharedReads } from "../../src/run/shared-reads.ts";

const never = new AbortController().signal;

/** A read that counts itself and answers when it is told to. */
function countedRead() {
  let answer: (value: string) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const signals: AbortSignal[] = [];
  return {
    signals,
    answer: (value: string) => answer(value),
    fail: (error: Error) => fail(error),
    read(signal: AbortSignal): Promise<string> {
      signals.push(signal);
      return new Promise((resolve, reject) => {
        answer = resolve;
        fail = reject;
      });
    },
  };
}

describe("a read", () => {
  test("is shared by the flow runs that were known before it began, also after its answer", async () => {
    const [reads, counted] = [new SharedReads(), countedRead()];
    const knownSince = monotonicMs();
    const both = [1, 2].map(() => reads.read("a", { knownSince, signal: never }, counted.read));
    counted.answer("x");
    expect(await Promise.all(both)).toEqual(["x", "x"]);
    expect(await reads.read("a", { knownSince, signal: never }, counted.read)).toBe("x");
    expect(counted.signals).toHaveLength(1);
  });

  test("is not used for a flow run that came after it began, nor under another key", async () => {
    const [reads, counted] = [new SharedReads(), countedRead()];
    void reads.read("a", { knownSince: 0, signal: never }, counted.read);
    void reads.read("a", { knownSince: monotonicMs() + 1, signal: never }, counted.read);
    void reads.read("b", { knownSince: 0, signal: never }, counted.read);
    expect(counted.signals).toHaveLength(3);
  });

  test("is shared by those that repeat other failures once its answer has arrived, and not before", async () => {
    const [reads, counted] = [new SharedReads(), countedRead()];
    const reader = { knownSince: 0, signal: never };
    void reads.read("a", { ...reader, repeats: false }, counted.read);
    const second = reads.read("a", { ...reader, repeats: "unless forbidden" }, counted.read);
    expect(counted.signals).toHaveLength(2);
    counted.answer("x");
    await second;
    expect(await reads.read("a", { ...reader, repeats: false }, counted.read)).toBe("x");
    expect(counted.signals).toHaveLength(2);
  });

  test("that failed is made again by the next", async () => {
    const [reads, counted] = [new SharedReads(), countedRead()];
    const reader = { knownSince: 0, signal: never };
    const first = reads.read("a", reader, counted.read);
    counted.fail(new Error("refused"));
    await expect(first).rejects.toThrow("refused");
    void reads.read("a", reader, counted.read);
    expect(counted.signals).toHaveLength(2);
  });

  test("goes on for the others when one stops waiting, and ends when nobody waits", async () => {
    const [reads, counted] = [new SharedReads(), countedRead()];
    const [one, other] = [new AbortController(), new AbortController()];
    const first = reads.read("a", { knownSince: 0, signal: one.signal }, counted.read);
    const second = reads.read("a", { knownSince: 0, signal: other.signal }, counted.read);
    one.abort(new Error("cancelled"));
    await expect(first).rejects.toThrow("cancelled");
    expect(counted.signals[0]?.aborted).toBe(false);
    other.abort(new Error("killed"));
    await expect(second).rejects.toThrow("killed");
    expect(counted.signals[0]?.aborted).toBe(true);
  });
});
