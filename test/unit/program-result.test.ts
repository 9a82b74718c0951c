// What a program may write to the file of its result, one row per form.
import { expect, test } from "vitest";
import { parseResult } from "../../src/run/program-result.ts";

const nothing = { message: null, artifact: null, problem: null };
const artifact = (fields: object): object => ({ key: null, description: null, ...fields });

test.each<[text: string, result: object]>([
  ["", nothing],
  ["\n", nothing],
  ['"3 files"', { message: "3 files" }],
  ["42", { message: "42" }],
  ['{"rows":3}', { message: '{"rows":3}' }],
  ['{"message":"done"}', { message: "done" }],
  ['{"markdown":"# Report"}', { artifact: artifact({ type: "markdown", data: "# Report" }) }],
  [
    '{"message":"m","table":[{"a":1}],"key":"my-table","description":"d"}',
    { message: "m", artifact: { type: "table", key: "my-table", description: "d", data: '[{"a":1}]' } },
  ],
  ['{"message":"m","key":"My Table","markdown":"x"}', { message: "m", problem: expect.stringMatching(/"key"/) }],
  ['{"message":"m","table":{}}', { message: "m", problem: expect.stringMatching(/"table" that is no list/) }],
  ['{"message":"m","markdown":"x","table":[]}', { message: "m", problem: expect.stringMatching(/both/) }],
  ['{"message":1}', { problem: expect.stringMatching(/"message" that is no text/) }],
  ["done", { problem: "The result of the program is no JSON, so it is not used." }],
  [JSON.stringify("x".repeat(10_000)), { problem: expect.stringMatching(/more than 10000 bytes/) }],
])("%.60j", (text, result) => {
  expect(parseResult(text)).toEqual({ ...nothing, ...result });
});
