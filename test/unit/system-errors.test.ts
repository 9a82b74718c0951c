// System errors in words.
import { expect, test } from "vitest";
import { describeLargest } from "../../src/process/environment-size.ts";
import { directoryProblem, findShortage } from "../../src/process/system-errors.ts";

const error = (code: string): Error => Object.assign(new Error(`${code}: something`), { code });

test.each([
  ["ENOSPC", "is full: no space or no inode left"],
  ["EROFS", "is read-only"],
  ["EIO", "cannot be written to (EIO)"],
])("a directory with %s is told in words", (code, words) => {
  expect(directoryProblem(error(code))).toBe(words);
});

test.each([
  ["EAGAIN", /no further process.*ulimit -u/],
  ["ENOMEM", /no memory/],
  ["EMFILE", /no file handle left.*ulimit -n/],
])("%s is a lack of the machine, with advice", (code, words) => {
  expect(findShortage(error(code))).toMatch(words);
});

test.each([error("ENOENT"), new Error("x"), undefined, "EAGAIN"])("%s is no lack of the machine", (other) => {
  expect(findShortage(other)).toBeUndefined();
});

test("the three largest variables are named by size, their values never", () => {
  const env = { SMALL: "v", HUGE: "s3cret".repeat(20_000), LARGE: "s3cret".repeat(10), MEDIUM: "s3cret" };
  const message = describeLargest(["python", "-m", "x"], env);
  expect(message).toContain(
    "120,107 bytes, 12 of them for the command. The largest variables: HUGE (120,006), LARGE (67), MEDIUM (14).",
  );
  expect(message).not.toContain("s3cret");
});
