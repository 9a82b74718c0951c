// How many programs start up at the same time.
import { describe, expect, test } from "vitest";
import { StartPacer, type StartPlace } from "../../src/run/start-pacer.ts";

const never = new Promise<never>(() => {});
const { signal } = new AbortController();

/** Enters and tells when the place was given. */
function enter(pacer: StartPacer, stop = signal): { place: Promise<StartPlace>; isIn: () => boolean } {
  let isIn = false;
  const place = pacer.enter(stop);
  void place.then(() => {
    isIn = true;
  });
  return { place, isIn: () => isIn };
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe("the places for programs that start up", () => {
  test("are given in the order of the requests, also when all were taken", async () => {
    const pacer = new StartPacer(2, () => Number.POSITIVE_INFINITY);
    const all = Array.from({ length: 4 }, () => enter(pacer));
    await settle();
    expect(all.map(({ isIn }) => isIn())).toEqual([true, true, false, false]);
    (await all[1]?.place)?.[Symbol.dispose]();
    await settle();
    expect(all.map(({ isIn }) => isIn())).toEqual([true, true, true, false]);
    expect(pacer.counts).toEqual({ starting: 2, waiting: 1 });
  });

  test("are kept until the program runs, or has ended", async () => {
    const pacer = new StartPacer(1, () => Number.POSITIVE_INFINITY);
    for (const end of ["started", "ended"] as const) {
      let say = (): void => {};
      const said = new Promise<void>((resolve) => {
        say = resolve;
      });
      {
        using place = await pacer.enter(signal);
        place.keepUntilStarted({ started: never, ended: never, [end]: said });
      }
      expect(pacer.counts.starting).toBe(1);
      say();
      await settle();
      expect(pacer.counts.starting).toBe(0);
    }
  });

  test("are fewer if little memory is free, but at least one", async () => {
    let free = 310_000_000;
    const pacer = new StartPacer(8, () => free);
    const all = [enter(pacer), enter(pacer), enter(pacer)];
    await settle();
    expect(pacer.counts).toEqual({ starting: 2, waiting: 1 });
    for (const { place } of all) (await place)[Symbol.dispose]();
    free = 0;
    using _one = await pacer.enter(signal);
    expect(pacer.counts).toEqual({ starting: 1, waiting: 0 });
  });

  test("become fewer for those that wait already if the memory becomes short", async () => {
    let free = 310_000_000;
    const pacer = new StartPacer(8, () => free);
    const [first, second, third] = [await pacer.enter(signal), await pacer.enter(signal), enter(pacer)];
    free = 0;
    first[Symbol.dispose]();
    await settle();
    expect(pacer.counts).toEqual({ starting: 1, waiting: 1 });
    second[Symbol.dispose]();
    await third.place;
    expect(pacer.counts).toEqual({ starting: 1, waiting: 0 });
  });

  test("are not waited for after an abort, and none is lost by it", async () => {
    const pacer = new StartPacer(1, () => Number.POSITIVE_INFINITY);
    const first = await pacer.enter(signal);
    const stop = new AbortController();
    const stopped = enter(pacer, stop.signal);
    const next = enter(pacer);
    stop.abort();
    (await stopped.place)[Symbol.dispose]();
    expect(next.isIn()).toBe(false);
    first[Symbol.dispose]();
    await next.place;
    expect(pacer.counts).toEqual({ starting: 1, waiting: 0 });
  });
});
