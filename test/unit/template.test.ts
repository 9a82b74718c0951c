// Placeholder rules, one row each. Every expected value was checked against Prefect 3.9.1.
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/api/wire.ts";
import { applyValues, type ReferenceReaders, resolveBlocks, resolveVariables } from "../../src/job/template.ts";

const removed = Symbol("removed");
type Row = [rule: string, template: Json, expected: Json | typeof removed];

function asObject(value: Json | typeof removed): JsonObject {
  return value === removed ? {} : { t: value as Json };
}

describe("applyValues", () => {
  const values: JsonObject = {
    text: "abc",
    number: 7,
    yes: true,
    nothing: null,
    list: [10, { deep: "d" }],
    map: { x: 1, "2026": "year", "a.b": "dotted" },
    größe: 1,
    inner: "{{ text }} {{ $HOME }}",
  };
  const environment = { HOME: "/home/l", EMPTY: "", UNSET: undefined };
  const rows: Row[] = [
    ["a whole string keeps the type of a number", "{{ number }}", 7],
    ["a whole string keeps the type of an object", "{{ list[1] }}", { deep: "d" }],
    ["a whole string keeps null", "{{ nothing }}", null],
    ["spaces inside the braces are optional", "{{number}}", 7],
    ["any white space will do", "{{\n\u00a0number\t}}", 7],
    ["a name may have letters of any language", "{{ größe }}", 1],
    ["text around it makes a string", "n={{ number }}", "n=7"],
    ["two placeholders make a string", "{{ number }}{{ number }}", "77"],
    ["Python spells values inside a text", "{{ yes }} {{ nothing }} {{ map.x }}", "True None 1"],
    ["Python spells objects inside a text", "<{{ list }}>", "<[10, {'deep': 'd'}]>"],
    ["a missing key is removed", "{{ missing }}", removed],
    ["a missing item is removed", ["{{ missing }}", 1], [1]],
    ["a missing nested key is removed", { a: "{{ missing }}", b: 1 }, { b: 1 }],
    ["a missing value in a text is empty", "a{{ missing }}b", "ab"],
    ["names of Object.prototype are missing", "{{ constructor }}", removed],
    ["a path goes through objects and lists", "{{ list[1].deep }}", "d"],
    ["a bare integer is an index too", "{{ list.0 }}", 10],
    ["-1 is the last item", "{{ list[-1].deep }}", "d"],
    ["an index past the end is missing", "{{ list[9] }}", removed],
    ["a text has items", "{{ text[1] }}", "b"],
    ["a number has none", "{{ number[0] }}", removed],
    ["a key of digits is found in an object", "{{ map.2026 }}", "year"],
    ["a literal dotted key cannot be reached", "{{ map.a.b }}", removed],
    ["a filter is plain text", "{{ text | upper }}", "{{ text | upper }}"],
    ["a blank within the name is plain text", "{{ te xt }}", "{{ te xt }}"],
    ["a third brace is plain text", "{{{ text }}}", "{abc}"],
    ["keys are not templates", { "{{ text }}": 1 }, { "{{ text }}": 1 }],
    ["inserted values are not looked at again", "{{ inner }}", "{{ text }} {{ $HOME }}"],
    ["nor when they are inserted into a text", "{{ inner }}/{{ number }}", "{{ text }} {{ $HOME }}/7"],
    ["$NAME is the worker's environment", "{{ $HOME }}", "/home/l"],
    ["in a text as well", "{{ $HOME }}/x", "/home/l/x"],
    ["every leading $ is dropped", "{{ $$HOME }}", "/home/l"],
    ["an unset environment variable is empty", "{{ $UNSET }}", ""],
    ["an unknown one too, and the key stays", "{{ $constructor }}", ""],
    ["$NAME without braces is plain text", "$HOME", "$HOME"],
    ["blocks are left for later", "{{ prefect.blocks.a.b }}-{{ number }}", "{{ prefect.blocks.a.b }}-7"],
    ["variables are left for later", "{{ prefect.variables.v }}", "{{ prefect.variables.v }}"],
    ["numbers, booleans and null stay", [1, true, null], [1, true, null]],
  ];
  test.each(rows)("%s", (_rule, template, expected) => {
    expect(applyValues(asObject(template), values, environment)).toEqual(asObject(expected));
  });

  test("a value keyed __proto__ stays an own key", () => {
    const parsed = JSON.parse('{"__proto__": "{{ number }}"}') as JsonObject;
    expect(JSON.stringify(applyValues(parsed, values, environment))).toBe('{"__proto__":7}');
  });
});

const blocks: Record<string, JsonObject> = {
  "secret/token": { value: "s3cret" },
  "json/config": { value: { list: [{ k: "v" }], n: 2, value: "inner" } },
  "docker/registry": { url: "r.io", value: "v", tags: ["a"], none: null },
  "many/values": { value: { values: 1 } },
  "secret/nested": { value: "{{ prefect.blocks.secret.token }}" },
};

function fakeReaders(reads: string[] = []): ReferenceReaders {
  return {
    async readBlockDocument(typeSlug, name) {
      reads.push(`${typeSlug}/${name}`);
      const data = blocks[`${typeSlug}/${name}`];
      if (data === undefined) throw new Error(`no block ${typeSlug}/${name}`);
      return data;
    },
    async readBlockDocumentById(id) {
      reads.push(id);
      return { host: "h", secret: "{{ prefect.blocks.secret.token }}" };
    },
    async findVariable(name) {
      reads.push(name);
      return { text: "one", number: 2, nothing: null, map: { a: ["b"] }, again: "{{ prefect.variables.text }}" }[name];
    },
  };
}

describe("resolveBlocks", () => {
  const rows: Row[] = [
    ["a document with only `value` is that value", "{{ prefect.blocks.secret.token }}", "s3cret"],
    ["in a text as well", "Bearer {{ prefect.blocks.secret.token }}!", "Bearer s3cret!"],
    ["`value` may be written out", "{{ prefect.blocks.secret.token.value }}", "s3cret"],
    ["a path starts in the value", "{{ prefect.blocks.json.config.list[0].k }}", "v"],
    ["or at `value`", "{{ prefect.blocks.json.config.value.n }}", 2],
    ["`value` twice is the inner one", "{{ prefect.blocks.json.config.value.value }}", "inner"],
    ["`values` is not `value`", "{{ prefect.blocks.many.values.values }}", 1],
    ["other documents are their data", "{{ prefect.blocks.docker.registry.url }}", "r.io"],
    ["with all keys", "{{ prefect.blocks.docker.registry }}", blocks["docker/registry"] ?? null],
    ["null inside a text is None", "x{{ prefect.blocks.docker.registry.none }}", "xNone"],
    [
      "inserted values are not looked at again",
      "{{ prefect.blocks.secret.nested }}",
      "{{ prefect.blocks.secret.token }}",
    ],
    [
      "a $ref object is the document's data as it is",
      { $ref: { block_document_id: "id-1" }, other: 1 },
      { host: "h", secret: "{{ prefect.blocks.secret.token }}" },
    ],
    ["a $ref without an id is an ordinary object", { $ref: {} }, { $ref: {} }],
    ["other placeholders stay", "{{ a }} {{ prefect.variables.b }}", "{{ a }} {{ prefect.variables.b }}"],
  ];
  test.each(rows)("%s", async (_rule, template, expected) => {
    expect(await resolveBlocks(asObject(template), fakeReaders())).toEqual(asObject(expected));
  });

  const failures: [rule: string, template: string, message: RegExp][] = [
    ["no such key", "{{ prefect.blocks.docker.registry.nope }}", /^Could not resolve the keypath of .*"nope"/],
    ["a list inside a text", "x{{ prefect.blocks.docker.registry.tags }}", /is a list, which cannot be part of a text/],
    ["an object inside a text", "x{{ prefect.blocks.json.config }}", /is an object, which cannot be part of a text/],
    ["no document name", "{{ prefect.blocks.secret }}", /names no block/],
    ["no such block", "{{ prefect.blocks.secret.gone }}", /no block secret\/gone/],
    [
      "a bad name beside a block that cannot be read",
      "{{ prefect.blocks.secret.gone }}{{ prefect.blocks.x }}",
      /names no/,
    ],
  ];
  test.each(failures)("%s is an error", async (_rule, template, message) => {
    await expect(resolveBlocks({ template }, fakeReaders())).rejects.toThrow(message);
  });

  test("each document is read once", async () => {
    const reads: string[] = [];
    const token = "{{ prefect.blocks.secret.token }}";
    const ref = { $ref: { block_document_id: "id-1" } };
    await resolveBlocks({ a: token, b: [token, `${token}${token}.value`], c: ref, d: ref }, fakeReaders(reads));
    expect(reads.sort()).toEqual(["id-1", "secret/token"]);
  });
});

describe("resolveVariables", () => {
  const rows: Row[] = [
    ["a whole string keeps the type", "{{ prefect.variables.number }}", 2],
    ["and null", "{{ prefect.variables.nothing }}", null],
    ["and objects", "{{ prefect.variables.map }}", { a: ["b"] }],
    ["inside a text Python spells it", "-{{ prefect.variables.map }}", "-{'a': ['b']}"],
    ["an unknown one is empty", "{{ prefect.variables.gone }}", ""],
    ["inside a text as well", "a{{ prefect.variables.gone }}b", "ab"],
    ["inserted values are not looked at again", "{{ prefect.variables.again }}", "{{ prefect.variables.text }}"],
    ["other placeholders stay", "{{ a }}{{ prefect.variables.text }}", "{{ a }}one"],
  ];
  test.each(rows)("%s", async (_rule, template, expected) => {
    expect(await resolveVariables(asObject(template), fakeReaders())).toEqual(asObject(expected));
  });

  test("each variable is read once", async () => {
    const reads: string[] = [];
    await resolveVariables({ a: ["{{ prefect.variables.text }}", "{{prefect.variables.text}}!"] }, fakeReaders(reads));
    expect(reads).toEqual(["text"]);
  });
});
