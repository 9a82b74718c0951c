// What `lictor deploy --entrypoint` learns from a module, and what it says if the module cannot be run.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeFlow } from "../../src/cli/describe-flow.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const importsLictor = 'import { flow } from "lictor";\nflow("report", () => 1);\n';

test.each<[what: string, files: Record<string, string>, entrypoint: string, message: RegExp]>([
  [
    "that is no ES module",
    { "package.json": '{"type":"commonjs"}', "flow.js": importsLictor },
    "flow.js:report",
    /^node .*\/flow\.js failed: its package\.json says that it is no ES module\. Run `npm pkg set type=module`, or .*\.$/,
  ],
  [
    "whose folder has no lictor",
    { "flow.mjs": importsLictor },
    "flow.mjs:report",
    /^node .* failed: Error.* Cannot find package 'lictor' .*\. Install it there: npm install lictor\.$/,
  ],
  [
    "that throws",
    { "flow.mjs": 'throw new RangeError("far away");\n' },
    "flow.mjs:report",
    /^node .* failed: RangeError: far away$/,
  ],
  [
    "without flows",
    { "flow.mjs": "export {};\n" },
    "flow.mjs:report",
    /^flow\.mjs has no flow 'report'\. It defines none/,
  ],
  [
    "that is not there",
    {},
    "flow.mjs:report",
    /^The file .*\/flow\.mjs of entrypoint 'flow\.mjs:report' does not exist\.$/,
  ],
  ["without a name", {}, "flow.mjs", /^'flow\.mjs' is no entrypoint\. Write file:flow, such as flow\.ts:import\.$/],
])("a module %s is refused in one line", async (_what, files, entrypoint, message) => {
  await using folder = await makeTemporaryDirectory("lictor-describe-");
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
  await expect(describeFlow(entrypoint, { directory: folder.path, env: process.env })).rejects.toThrow(message);
});

test("a machine without Node.js on PATH is told so", async () => {
  await using folder = await makeTemporaryDirectory("lictor-describe-");
  await writeFile(join(folder.path, "flow.mjs"), importsLictor);
  const env = { PATH: folder.path };
  await expect(describeFlow("flow.mjs:report", { directory: folder.path, env })).rejects.toThrow(
    "failed: there is no `node` on PATH. Install Node.js, or deploy from a machine that has it.",
  );
});
