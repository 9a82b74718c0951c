import { expect, test } from "vitest";
import { parseDotEnv } from "../../src/settings/dotenv.ts";

const rows: [name: string, text: string, expected: Record<string, string>][] = [
  ["a plain assignment", "A=b", { A: "b" }],
  ["spaces around the name and the value", "  A =  b  ", { A: "b" }],
  ["export in front", "export A=b", { A: "b" }],
  ["an empty value is a value", "A=", { A: "" }],
  ["a comment line", "# A=b\nB=c", { B: "c" }],
  ["a comment needs white space in front", "A=pa#ss # comment", { A: "pa#ss" }],
  ["single quotes keep everything but their escape", `A='x \\'y\\' #\${E}\\n'`, { A: "x 'y' #e\\n" }],
  ["double quotes resolve escapes", 'A="x\\ty\\"z"', { A: 'x\ty"z' }],
  ["quoted values may span lines", 'A="x\ny"\nB=c', { A: "x\ny", B: "c" }],
  ["a comment behind a quoted value", "A='x' # comment\nB=c", { A: "x", B: "c" }],
  ["lines may end in CR LF", "A=b\r\nB=c\r\n", { A: "b", B: "c" }],
  ["a reference to the environment", `A=\${E}`, { A: "e" }],
  ["a reference to an earlier line beats the environment", `E=1\nA=\${E}`, { E: "1", A: "1" }],
  ["a reference with a default", `A=\${NO:-d}-\${NO}`, { A: "d-" }],
  ["a name without a value is passed over", "A\nB=c", { B: "c" }],
  ["the last of two assignments counts", "A=1\nA=2", { A: "2" }],
];

test.each(rows)("%s", (_, text, expected) => {
  expect(Object.fromEntries(parseDotEnv(text, { E: "e" }))).toEqual(expected);
});
