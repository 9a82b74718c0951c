// The code blocks of the documents: their commands are executed, and what they show is what lictor reads.
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { readDeployments } from "../../src/cli/lictor-toml.ts";
import { processBaseJobTemplate } from "../../src/infrastructure/process/base-job-template.ts";
import { sharedApi } from "../server/deployments.ts";
import { inCheckout } from "../support/checkout.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { type CodeBlock, codeBlocksOf, commandsOf, fileNameOf } from "./code-blocks.ts";
import { readDocuments } from "./documents.ts";
import { findFault, recordedCommands } from "./recorded-commands.ts";
import { type PageResult, runPage } from "./run-page.ts";

const documents = (await readDocuments()).filter(({ path }) => /^(docs\/.*|README|CONTRIBUTING)/.test(path));
const blocks = documents.flatMap(codeBlocksOf);
const withCommands = documents.filter((document) => codeBlocksOf(document).some(({ language }) => language === "sh"));

/** The files that the commands of a page need and the page does not show. */
const files: Readonly<Record<string, Record<string, string>>> = {
  "docs/any-program.md": {
    "report.mjs": 'import { flow } from "lictor";\nexport const report = flow("report", () => "done");\n',
    "parameters.json": '{"day":"today"}',
  },
  "docs/authentication.md": { "secrets/prefect-key": "a-key-that-this-server-ignores\n" },
  "docs/pools.md": { ".prefect/profiles.toml": "[profiles.cloud-prod]\n" },
};

/** What else must be true after the commands of a page. */
const checks: Readonly<Record<string, (output: (start: string) => string) => Promise<void>>> = {
  "docs/any-program.md": async (output) => {
    expect(output("lictor run greet")).toMatch(/\| hello you$/m);
    expect(output("lictor deploy --from")).toMatch(/'import\/import' .*\n.*'report\/report' /);
  },
  "docs/typescript.md": async (output) => {
    expect(output("lictor run hello")).toMatch(/\| Hello, Bob!$/m);
  },
  "docs/getting-started.md": async (output) => {
    const [, id = ""] = /UUID: (\S+)/.exec(output("~/prefect/bin/prefect deployment run")) ?? [];
    await sharedApi().waitForState(id, ["COMPLETED"], 90_000);
  },
};

describe("commands", () => {
  beforeAll(async () => {
    // A run that was interrupted leaves them.
    await removePools();
    await sharedApi().createWorkPool("my-pool");
    return removePools;
  });

  test.each(withCommands)("of $path do what they shall", { timeout: 120_000 }, async (document) => {
    const api = sharedApi();
    await api.updateWorkPool("my-pool", { is_paused: false });
    // For tomorrow, so that no worker takes it.
    const deployment = await api.createDeployment({ flowName: "example", name: "example", workPool: "my-pool" });
    const { id } = await api.createFlowRun(deployment, { scheduledTime: new Date(Date.now() + 86_400_000) });
    await runPage(
      document,
      { flowRun: id, files: files[document.path] ?? {} },
      async ({ executed, recorded }: PageResult) => {
        expect(executed.filter(({ code }) => code !== 0)).toEqual([]);
        const faults = await Promise.all(recorded.map(async (words) => ({ words, fault: await findFault(words) })));
        expect(faults.filter(({ fault }) => fault !== null)).toEqual([]);
        const output = (start: string) => executed.find(({ command }) => command.startsWith(start))?.output ?? "";
        await checks[document.path]?.(output);
      },
    );
  });

  test("that are not executed are in the documents", () => {
    const commands = blocks.filter(({ language }) => language === "sh").flatMap(commandsOf);
    expect(commands.length).toBeGreaterThan(100);
    const isUsed = ([start]: (typeof recordedCommands)[number]) => commands.some((command) => start.test(command));
    expect(recordedCommands.filter((each) => !isUsed(each))).toEqual([]);
  });
});

/** Removes the work pools of the documents, with their deployments, whose schedules would make flow runs. */
async function removePools(): Promise<void> {
  const api = sharedApi();
  for (const name of ["my-pool", "cpu", "gpu", "local"]) {
    const exists = await api.readWorkPool(name).then(
      () => true,
      () => false,
    );
    if (exists) await api.deleteWorkPool(name);
  }
}

describe("what is shown", () => {
  const inLanguage = (language: string): CodeBlock[] => blocks.filter((block) => block.language === language);

  test("is in a language that a test reads", () => {
    // Python is executed with the commands of its page. Text is no code.
    const read = ["sh", "toml", "json", "ts", "python", "text"];
    expect(blocks.filter(({ language }) => !read.includes(language))).toEqual([]);
    expect(inLanguage("python").filter((block) => fileNameOf(block) === undefined)).toEqual([]);
  });

  test("as lictor.toml is what `lictor deploy --from` reads", () => {
    const tomls = inLanguage("toml");
    expect(tomls.map(fileNameOf)).toEqual(["lictor.toml"]);
    expect(tomls.flatMap(({ text }) => readDeployments("lictor.toml", text)).length).toBeGreaterThan(1);
  });

  test("as job variables are those of the base job template", () => {
    const { variables } = processBaseJobTemplate as { variables: { properties: object } };
    const shown = inLanguage("json").map(({ text }) => JSON.parse(text) as object);
    expect(shown).toHaveLength(1);
    expect(shown.flatMap(Object.keys).filter((name) => !Object.hasOwn(variables.properties, name))).toEqual([]);
  });

  test("in TypeScript is accepted by the compiler", async () => {
    await using folder = await makeTemporaryDirectory("lictor-blocks-");
    await mkdir(join(folder.path, "node_modules"));
    await symlink(inCheckout("."), join(folder.path, "node_modules/lictor"));
    const names = await Promise.all(
      inLanguage("ts").map(async (block, index) => {
        const name = `block-${index}.ts`;
        await writeFile(join(folder.path, name), withImports(block.text));
        return name;
      }),
    );
    expect(names.length).toBeGreaterThan(1);
    const types = ["--types", "node", "--typeRoots", inCheckout("node_modules/@types")];
    const options = ["--noEmit", "--strict", "--target", "es2023", "--module", "nodenext", ...types];
    const tsc = inCheckout("node_modules/.bin/tsc");
    const { code, stdout } = await runCommand(tsc, [...options, ...names], { cwd: folder.path });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  });
});

/** A block that shows a part of a file imports what it uses of lictor. */
function withImports(text: string): string {
  if (text.includes("import ")) return text;
  const used = ["context", "flow", "log", "progress", "task"].filter((name) => new RegExp(`\\b${name}[(.]`).test(text));
  return `import { ${used.join(", ")} } from "lictor";\n${text}\nexport {};\n`;
}
