// How many proposals are in flight, with a server that handles a number of them at once and queues the others.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ProposalBound } from "../../src/run/proposal-bound.ts";

const { signal } = new AbortController();

/** A server that needs `ms` for each proposal and handles `atOnce` of them at the same time. */
function server(atOnce: number, ms: number) {
  const waiting: (() => void)[] = [];
  let active = 0;
  let most = 0;
  return {
    most: () => most,
    async respond(): Promise<void> {
      most = Math.max(most, active + waiting.length + 1);
      if (active >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
      active += 1;
      await new Promise((resolve) => setTimeout(resolve, ms));
      active -= 1;
      waiting.shift()?.();
    },
  };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "hrtime"] });
});

afterEach(() => {
  vi.useRealTimers();
});

async function propose(bound: ProposalBound, count: number, send: () => Promise<void>): Promise<void> {
  const all = Promise.all(Array.from({ length: count }, () => bound.run(send, signal)));
  await vi.runAllTimersAsync();
  await all;
}

describe("the bound of proposals", () => {
  test("stays low for a server that handles one at a time", async () => {
    const [bound, slow] = [new ProposalBound(), server(1, 20)];
    await propose(bound, 200, slow.respond);
    expect(bound.limit).toBeLessThanOrEqual(6);
    expect(slow.most()).toBeLessThanOrEqual(7);
  });

  test("grows to the number of connections for a server that handles many at once", async () => {
    const [bound, fast] = [new ProposalBound(), server(64, 20)];
    await propose(bound, 200, fast.respond);
    expect(bound.limit).toBe(16);
    expect(fast.most()).toBe(16);
  });

  test("is not raised by a few proposals, and is halved by a failure", async () => {
    const bound = new ProposalBound();
    await propose(bound, 1, server(64, 20).respond);
    expect(bound.limit).toBe(4);
    await expect(bound.run(() => Promise.reject(new Error("gone")), signal)).rejects.toThrow("gone");
    expect(bound.limit).toBe(2);
  });

  test("lets no place go when waiting proposals are given up", async () => {
    const bound = new ProposalBound();
    const stop = new AbortController();
    let answer = (): void => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const running = Array.from({ length: 4 }, () => bound.run(() => answered, signal));
    const given = Promise.allSettled(Array.from({ length: 3 }, () => bound.run(async () => {}, stop.signal)));
    const last = bound.run(async () => "sent", signal);
    stop.abort(new Error("killed"));
    expect((await given).map((each) => each.status)).toEqual(["rejected", "rejected", "rejected"]);
    answer();
    await Promise.all(running);
    expect(await last).toBe("sent");
  });
});
