// How far the output of a container was passed on, by the times of its lines.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LogPosition } from "../../src/infrastructure/log-position.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const lineOf = (time: string) => (text: string) => `2026-01-02T03:04:${time}Z ${text}`;
const [one, two, three] = [lineOf("01"), lineOf("02"), lineOf("02.5")];

function passAll(position: LogPosition, lines: readonly string[]): string[] {
  position.reopen();
  return lines.flatMap((line) => position.pass(line) ?? []);
}

describe("lines of an output", () => {
  test("are passed on once, however often they are read, also if many have the same time", () => {
    const position = new LogPosition(null);
    expect(passAll(position, [one("a"), one("b"), two("c")])).toEqual(["a", "b", "c"]);
    expect(passAll(position, [two("c"), two("d"), two("d")])).toEqual(["d", "d"]);
    expect(passAll(position, [one("a"), two("c"), two("d"), two("d"), two("e"), three("f")])).toEqual(["e", "f"]);
    expect(passAll(position, [three("f")])).toEqual([]);
  });

  test("are passed on if they are out of order by a moment", () => {
    const position = new LogPosition(null);
    expect(passAll(position, [three("a"), two("b"), three("c")])).toEqual(["a", "b", "c"]);
    expect(passAll(position, [two("b"), three("a"), three("c"), three("d")])).toEqual(["d"]);
  });

  test("without a time are passed on", () => {
    const position = new LogPosition(null);
    expect(passAll(position, [two("a"), "rest of a long line"])).toEqual(["a", "rest of a long line"]);
  });

  test("are continued by the next reader, with the file and without", async () => {
    await using directory = await makeTemporaryDirectory();
    const file = join(directory.path, "position");
    const first = new LogPosition(file, async () => {});
    expect(passAll(first, [one("a"), two("b"), two("c")])).toEqual(["a", "b", "c"]);
    await first.finish();
    expect(await readFile(file, "utf8")).toMatch(/^\d+$/);
    const last = { at: first.at, count: 1 };
    for (const [path, expected] of [[file, ["d"]] as const, [null, ["c", "d"]] as const]) {
      const next = new LogPosition(path);
      await next.restore(async () => last);
      expect(next.at).toBe(first.at);
      expect(passAll(next, [two("b"), two("c"), two("d")])).toEqual(expected);
    }
  });
});
