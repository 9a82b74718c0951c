// Numbers that keep their text, from JSON to JSON and to the text that Python makes of them.
import { describe, expect, test } from "vitest";
import { templateOfFrame, valuesOfPoll } from "../../src/api/exact-places.ts";
import { keepNumberTexts, NumberText, parseExactJson, stringifyExactJson } from "../../src/exact-json.ts";
import { pythonBoolean } from "../../src/python-boolean.ts";
import { pythonText } from "../../src/python-text.ts";

// Every expected text is what Python 3.11 prints of json.loads of the number.
const rows: [json: string, python: string][] = [
  ["0", "0"],
  ["-0", "0"],
  ["-0.0", "-0.0"],
  ["1", "1"],
  ["1.0", "1.0"],
  ["-2.50", "-2.5"],
  ["1e3", "1000.0"],
  ["1E+3", "1000.0"],
  ["0.1e1", "1.0"],
  ["1e-5", "1e-05"],
  ["1e16", "1e+16"],
  ["1.5e16", "1.5e+16"],
  ["9999999999999998.0", "9999999999999998.0"],
  ["1e22", "1e+22"],
  ["1e400", "inf"],
  ["-1e400", "-inf"],
  ["9007199254740993", "9007199254740993"],
  ["12345678901234567890", "12345678901234567890"],
  ["123456789012345678901234567890", "123456789012345678901234567890"],
];

describe("a number", () => {
  test.each(rows)("%s is %s to Python", (json, python) => {
    expect(pythonText(parseExactJson(json))).toBe(python);
    expect(pythonText(parseExactJson(`{"a": [${json}]}`))).toBe(`{'a': [${python}]}`);
  });

  test.each(rows)("%s goes back to JSON with the same value", (json) => {
    const text = stringifyExactJson(parseExactJson(`{"a":[${json},"${json}"]}`));
    const isFraction = !Number.isInteger(Number(json)) && Number.isFinite(Number(json));
    expect(text).toBe(`{"a":[${isFraction ? Number(json) : json},"${json}"]}`);
  });

  test.each([
    ["1.0", true],
    ["0.0", false],
    ["2.0", undefined],
  ])("%s is %s where true or false is expected", (json, expected) => {
    expect(pythonBoolean(parseExactJson(json))).toBe(expected);
  });
});

test("numbers within strings are text, whatever is around them", () => {
  const value = { text: 'a "1.0", \\ [2.0] \n', "3.0": "", tail: "\\" };
  expect(parseExactJson(JSON.stringify({ ...value, number: 1 }).replace(":1}", ":1.0}"))).toEqual({
    ...value,
    number: new NumberText("1.0"),
  });
});

test("a string of some MB is no problem", () => {
  const long = '\\"x'.repeat(1_000_000);
  expect(pythonText((parseExactJson(`{"a":"${long}","b":1.0}`) as { b: unknown }).b)).toBe("1.0");
});

test("what is no JSON is an error", () => {
  expect(() => parseExactJson("{1.0}")).toThrow(SyntaxError);
});

test("only the places that are asked for keep their texts", () => {
  const text =
    '[{"flow_run":{"job_variables":{"env":{"A":1.0}},"parameters":{"a":1.0},"labels":{"a":1.0}}},{"flow_run":{"job_variables":null}}]';
  const polled = JSON.parse(text) as [{ flow_run: { job_variables: object; parameters: object; labels: object } }];
  keepNumberTexts(text, polled, valuesOfPoll);
  expect(pythonText(polled[0].flow_run.job_variables as never)).toBe("{'env': {'A': 1.0}}");
  expect(pythonText(polled[0].flow_run.parameters as never)).toBe("{'a': 1.0}");
  expect(polled[0].flow_run.labels).toEqual({ a: 1 });
});

test.each([
  ['{"type":"t","payload":{"work_pool":{"base_job_template":{"a":2.0},"x":1.0}}}'],
  ['{"type":"t","payload":{"initial_snapshot":{"work_pool":{"base_job_template":{"a":2.0},"x":1.0}}}}'],
  ['{"type":"t","payload":null}'],
  ["[]"],
  ["null"],
])("a frame of the worker channel keeps those of its template: %s", (text) => {
  const frame: unknown = JSON.parse(text);
  keepNumberTexts(text, frame, templateOfFrame);
  expect(pythonText(frame)).toBe(
    pythonText(JSON.parse(text)).replace("'base_job_template': {'a': 2}", "'base_job_template': {'a': 2.0}"),
  );
});
