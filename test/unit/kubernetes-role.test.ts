// The Role in the documents has what `lictor doctor` asks for.
import { readFile } from "node:fs/promises";
import { loadAll } from "js-yaml";
import { expect, test } from "vitest";
import { describeRule, rulesFor } from "../../src/infrastructure/kubernetes/permissions.ts";
import { inCheckout } from "../support/checkout.ts";

test("the Role has all permissions that a worker may need, and no other", async () => {
  const text = await readFile(inCheckout("docs/deploy/kubernetes/rbac.yaml"), "utf8");
  const objects = loadAll(text) as { kind: string; rules?: Record<string, string[]>[] }[];
  const documented = objects.find(({ kind }) => kind === "Role")?.rules;
  const needed = rulesFor({ createsApiKeySecret: true, storesEnvironment: true }).map(
    ({ resource: { group, plural }, subresource, verbs }) => ({
      apiGroups: [group],
      resources: [subresource === undefined ? plural : `${plural}/${subresource}`],
      verbs,
    }),
  );
  expect(documented).toEqual(needed);
});

test("a rule is shown as a Role has it", () => {
  const [, , log] = rulesFor({ createsApiKeySecret: false, storesEnvironment: false });
  expect(log && describeRule(log, ["get"])).toBe('{apiGroups: [""], resources: ["pods/log"], verbs: ["get"]}');
});
