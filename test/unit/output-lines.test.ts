// How a program's bytes become lines.
import { expect, test } from "vitest";
import { LineCutter, longestLineBytes } from "../../src/process/output-lines.ts";

const euro = Buffer.from("€");
const long = "x".repeat(longestLineBytes);

const rows: [rule: string, chunks: (string | Buffer)[], lines: string[]][] = [
  ["a line at a time", ["one\n", "two\n"], ["one", "two"]],
  ["several lines in a chunk", ["one\n\ntwo\n"], ["one", "", "two"]],
  ["a line in several chunks", ["o", "", "ne", "\n"], ["one"]],
  ["a character in two chunks", [euro.subarray(0, 1), euro.subarray(1), "\n"], ["€"]],
  ["a last line without an end", ["one\ntwo"], ["one", "two"]],
  ["line ends of Windows", ["one\r\ntwo\r", "\n"], ["one", "two"]],
  ["bytes that are not UTF-8", [Buffer.from([0x61, 0xe9, 0x62, 0x0a, 0xff])], ["a\ufffdb", "\ufffd"]],
  ["the longest line whole", [`${long}\nrest\n`], [long, "rest"]],
  ["a longer line in pieces", [`${long}rest\n`], [long, "rest"]],
  ["no character in two pieces", [`${long.slice(1)}€\n`], [long.slice(1), "€"]],
  ["nothing", [], []],
];

test.each(rows)("hands over %s", (_rule, chunks, lines) => {
  const cutter = new LineCutter();
  const cut = chunks.flatMap((chunk) => cutter.push(Buffer.from(chunk)));
  expect([...cut, ...cutter.end()]).toEqual(lines);
});
