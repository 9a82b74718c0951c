import { describe, expect, test } from "vitest";
import { type BrokenConnection, findPattern } from "../../src/sockets/keep-alive.ts";

/** Ends one after the other, a second after the end before: [age, silence] in seconds. */
function ends(...rows: [openSeconds: number, silentSeconds: number][]): BrokenConnection[] {
  let endedAtMs = 0;
  return rows.map(([openSeconds, silentSeconds]) => {
    endedAtMs += openSeconds * 1000 + 1000;
    return { endedAtMs, openMs: openSeconds * 1000, silentMs: silentSeconds * 1000 };
  });
}

describe("what connections that broke off have in common", () => {
  test.each<[name: string, ends: BrokenConnection[], pattern: ReturnType<typeof findPattern>]>([
    ["one end says nothing", ends([5, 5]), undefined],
    ["the same silence twice is a read timeout", ends([5, 5], [5, 5]), { kind: "idle", afterMs: 5000 }],
    ["data before the silence changes nothing", ends([40, 15], [15.5, 15.5]), { kind: "idle", afterMs: 15_250 }],
    ["silences that differ are no timeout", ends([12, 3], [40, 19]), undefined],
    ["an old end does not hide the pattern", ends([90, 12], [5, 5], [5, 5]), { kind: "idle", afterMs: 5000 }],
    ["the same age twice may be chance", ends([30, 3], [30, 11]), undefined],
    ["the same age three times is a limit", ends([30, 3], [30, 11], [30, 7]), { kind: "lifetime", afterMs: 30_000 }],
    ["connections that break at once are a server that crashes", ends([0.1, 0.1], [0.1, 0.1], [0.1, 0.1]), undefined],
    [
      "several sockets that end at the same moment have one cause",
      [
        { endedAtMs: 9000, openMs: 9000, silentMs: 9000 },
        { endedAtMs: 9004, openMs: 9000, silentMs: 9000 },
        { endedAtMs: 9010, openMs: 8000, silentMs: 8000 },
      ],
      undefined,
    ],
  ])("%s", (_name, rows, pattern) => {
    expect(findPattern(rows)).toEqual(pattern);
  });
});
