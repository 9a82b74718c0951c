// Every expected text was checked against Python 3.11.
import { expect, test } from "vitest";
import type { Json } from "../../src/api/wire.ts";
import { pythonText } from "../../src/python-text.ts";

const rows: [rule: string, value: Json, text: string][] = [
  ["a string is itself", "it's", "it's"],
  ["booleans and null", [true, false, null], "[True, False, None]"],
  ["a number below 0.0001 has an exponent", 0.00001, "1e-05"],
  ["of two digits", 1.5e-7, "1.5e-07"],
  ["or more", 1e-300, "1e-300"],
  ["0.0001 has none", 0.0001, "0.0001"],
  ["integers", [0, -1, 123456789012], "[0, -1, 123456789012]"],
  ["fractions", 2.25, "2.25"],
  ["nested strings have single quotes", ["a"], "['a']"],
  ["double ones around a single one", ["it's"], `["it's"]`],
  ["an escape when both occur", [`'"`], `['\\'"']`],
  ["backslashes and line ends are escaped", ["\\\n\r\t"], "['\\\\\\n\\r\\t']"],
  ["what does not print is escaped", ["\x01\u00a0\u2028\u{e0001}"], "['\\x01\\xa0\\u2028\\U000e0001']"],
  ["what prints is not", ["é日😀 "], "['é日😀 ']"],
  ["empty lists and objects", [[], {}], "[[], {}]"],
];
test.each(rows)("%s", (_rule, value, text) => {
  expect(pythonText(value)).toBe(text);
});
