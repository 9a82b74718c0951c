// From the fields of a job to the program that is started, one row per rule.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { NumberText } from "../../src/exact-json.ts";
import type { RunFacts } from "../../src/job/job-fields.ts";
import { inContainer, toProgram } from "../../src/job/program-fields.ts";

const parameters: JsonObject = {
  text: 'it\'s "here"; $HOME\n*',
  unicode: "grün 🚀",
  number: new NumberText("12345678901234567890") as never,
  yes: true,
  nothing: null,
  list: [1, "two"],
  nested: { level: "debug" },
  "with.dot": "dotted",
};
const facts = (given: JsonObject = parameters): RunFacts => ({ flowRun: { parameters: given } }) as unknown as RunFacts;

describe("a program", () => {
  test.each<[rule: string, fields: JsonObject, command: string[] | null]>([
    ["is the engine without fields", {}, null],
    ["is the command of an engine by default", { command: "python -m 'my engine'" }, ["python", "-m", "my engine"]],
    [
      "keeps placeholders for an engine",
      { command: "run {{ parameters.text }}" },
      ["run", "{{", "parameters.text", "}}"],
    ],
  ])("%s", (_rule, fields, command) => {
    expect(toProgram(fields, facts(), {})).toEqual({ command, env: {}, reporter: "engine" });
  });

  test.each<[rule: string, fields: JsonObject, command: string[]]>([
    ["with reporter worker is the command", { reporter: "worker", command: "a 'b c'" }, ["a", "b c"]],
    ["in a list of words needs no reporter", { program: ["a", "b c"] }, ["a", "b c"]],
    ["in a list goes before the command", { program: ["a"], command: "b" }, ["a"]],
    ["gets a text as one argument", { program: ["a", "{{ parameters.text }}"] }, ["a", parameters.text as string]],
    ["gets a value inside a word", { program: ["a", "--n={{parameters.unicode}}!"] }, ["a", "--n=grün 🚀!"]],
    ["gets the number as it was sent", { program: ["a", "{{ parameters.number }}"] }, ["a", "12345678901234567890"]],
    [
      "gets JSON for other values",
      { program: ["a", "{{ parameters.list }}", "{{ parameters.yes }}"] },
      ["a", '[1,"two"]', "true"],
    ],
    ["gets an empty argument for null", { program: ["a", "{{ parameters.nothing }}"] }, ["a", ""]],
    ["reaches into objects", { program: ["a", "{{ parameters.nested.level }}"] }, ["a", "debug"]],
    ["finds a name with a dot", { program: ["a", "{{ parameters.with.dot }}"] }, ["a", "dotted"]],
    ["takes several values", { program: ["a", "{{ parameters.yes }}-{{ parameters.yes }}"] }, ["a", "true-true"]],
    ["does not fill in what a value has", { program: ["a", "{{ parameters.x }}"] }, ["a", "{{ parameters.y }}"]],
    // Only a placeholder may have spaces in a command, because a shell would split it too.
    [
      "fills in a quoted placeholder of a command",
      { reporter: "worker", command: 'a "{{ parameters.text }}"' },
      ["a", parameters.text as string],
    ],
    [
      "fills in a placeholder of a command",
      { reporter: "worker", command: "a {{ parameters.text }} b" },
      ["a", parameters.text as string, "b"],
    ],
  ])("%s", (_rule, fields, command) => {
    const given = { ...parameters, x: "{{ parameters.y }}", y: "z" };
    expect(toProgram(fields, facts(given), { A: "1" })).toMatchObject({ command, env: { A: "1" }, reporter: "worker" });
  });

  test("gets its parameters as JSON, and the rules of its report", () => {
    const fields = {
      program: ["a"],
      timeout_seconds: 1.5,
      retries: "2",
      retry_delay_seconds: new NumberText("3.0") as never,
    };
    const rules = { timeoutSeconds: 1.5, retries: 2, retryDelaySeconds: 3 };
    const program = toProgram(fields, facts({ a: new NumberText("1.0") as never }), {});
    expect(program).toMatchObject({ parameters: '{"a":1.0}', rules });
    const fractions = toProgram({ program: ["a"], retries: 0.5, retry_delay_seconds: 0.1 }, facts({}), {});
    expect(fractions).toMatchObject({ rules: { retries: 1, retryDelaySeconds: 1 } });
    const without = toProgram({ program: ["a"], timeout_seconds: 0 }, facts({}), {});
    expect(without).toMatchObject({ rules: { timeoutSeconds: null, retries: null, retryDelaySeconds: null } });
  });

  test.each<[problem: string, fields: JsonObject, message: RegExp]>([
    ["no command", { reporter: "worker" }, /no program. Set "command" or "program"/],
    ["an unknown reporter", { reporter: "me" }, /"reporter" is "me", but "engine" or "worker" is expected/],
    [
      "an unknown parameter",
      { program: ["a", "{{ parameters.z }}"] },
      /\{\{ parameters.z \}\}, but the flow run's parameters are: text, /,
    ],
    ["a name of an object", { program: ["a", "{{ parameters.toString }}"] }, /parameters.toString/],
    ["a time that is none", { program: ["a"], timeout_seconds: "soon" }, /"timeout_seconds" is "soon"/],
    ["a negative count", { program: ["a"], retries: -1 }, /"retries" is -1, but a number from 0 to 100000000 is/],
    [
      "a time that fits into no date",
      { program: ["a"], retry_delay_seconds: 1e300 },
      /"retry_delay_seconds" is 1e\+300/,
    ],
    ["a program that is no list", { program: "a" }, /"program" is a string, but a list is expected/],
  ])("is refused with %s", (_problem, fields, message) => {
    expect(() => toProgram(fields, facts(), {})).toThrow(message);
  });
});

describe("a program in a container", () => {
  test("gets parameters and the path of its result as variables", () => {
    const program = inContainer(toProgram({ program: ["a"] }, facts({ a: 1 }), { B: "2" }), "/tmp/result");
    expect(program.env).toEqual({ B: "2", PREFECT__PARAMETERS: '{"a":1}', LICTOR_RESULT_FILE: "/tmp/result" });
    const engine = toProgram({}, facts(), {});
    expect(inContainer(engine, "/tmp/result")).toBe(engine);
  });

  test("is refused with parameters that fit into no variable", () => {
    const program = toProgram({ program: ["a"] }, facts({ a: "x".repeat(500_000) }), {});
    expect(() => inContainer(program, "/tmp/result")).toThrow(
      /have 500008 bytes, and a variable of a container has room/,
    );
  });
});
