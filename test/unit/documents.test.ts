// The documents say what is true: links, commands, settings, messages and exit codes.
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { explainExit } from "../../src/run/exit-status.ts";
import { findSetting } from "../../src/settings/catalogue.ts";
import { findMistake } from "../docs/command-line.ts";
import { anchorsOf, commandLinesOf, linksOf, readDocuments } from "../docs/documents.ts";
import { readmeWithFigures } from "../docs/figures.ts";
import { readMessageTexts } from "../docs/messages.ts";
import { lictorVariables, programVariables } from "../docs/setting-meanings.ts";
import { settingsPage } from "../docs/settings-page.ts";
import { inCheckout } from "../support/checkout.ts";

const documents = await readDocuments();

async function readPage(path: string): Promise<string> {
  return await readFile(inCheckout(path), "utf8");
}

describe("links", () => {
  test("lead to files and headings that exist", () => {
    const links = documents.flatMap(linksOf);
    expect(links.length).toBeGreaterThan(60);
    const isBroken = ({ target, anchor }: (typeof links)[number]): boolean => {
      if (!existsSync(inCheckout(target))) return true;
      const document = documents.find(({ path }) => path === target);
      return anchor !== "" && document !== undefined && !anchorsOf(document).includes(anchor);
    };
    expect(links.filter(isBroken)).toEqual([]);
  });

  test("lead from docs/README.md to each page", () => {
    const index = documents.find(({ path }) => path === "docs/README.md");
    const linked = index ? linksOf(index).map(({ target }) => target) : [];
    const pages = documents.map(({ path }) => path).filter((path) => /^docs\/[\w-]+\.md$/.test(path));
    expect(pages.filter((path) => path !== "docs/README.md" && !linked.includes(path))).toEqual([]);
  });

  test("are also the names of source files", () => {
    const names = documents.flatMap(({ path, text }) =>
      [...text.matchAll(/`([\w./-]+\/[\w.-]+\.ts)`/g)].map(([, file = ""]) => ({ path, file })),
    );
    const isMissing = ({ file }: { file: string }) =>
      !["", "src"].some((folder) => existsSync(inCheckout(join(folder, file))));
    expect(names.filter(isMissing)).toEqual([]);
  });
});

describe("commands", () => {
  test("of lictor exist, with these options", () => {
    const lines = documents.flatMap((document) => commandLinesOf(document, "lictor"));
    expect(lines.length).toBeGreaterThan(60);
    const mistakes = lines.map(({ path, line }) => ({ path, line, mistake: findMistake(line) }));
    expect(mistakes.filter(({ mistake }) => mistake !== null)).toEqual([]);
  });

  test("with a mistake are found", () => {
    expect(findMistake("lictor worker start --pool p --limt 4")).toBe("start has no option --limt");
    expect(findMistake("lictor worker ls|inspct --pool P")).toBe("worker has no command inspct");
    expect(findMistake("lictor wrker start")).toBe("lictor has no command wrker");
  });

  test("of npm are scripts of package.json", async () => {
    const { scripts } = JSON.parse(await readPage("package.json")) as { scripts: Record<string, string> };
    const lines = documents.flatMap((document) => commandLinesOf(document, "npm run"));
    const names = lines.map(({ line }) => line.split(/\s+/)[2]?.replace(/[^\w:-].*$/, "") ?? "");
    expect(names.length).toBeGreaterThan(10);
    expect(names.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });
});

describe("settings", () => {
  test("are in docs/settings.md as they are defined (`npm run docs` writes it)", async () => {
    expect(await readPage("docs/settings.md")).toBe(settingsPage());
  });

  test("of lictor itself are all in docs/settings.md", async () => {
    const files = (await readdir(inCheckout("src"), { recursive: true })).filter((file) => file.endsWith(".ts"));
    const sources = await Promise.all(files.map((file) => readPage(join("src", file))));
    const read = new Set(sources.flatMap((source) => source.match(/\bLICTOR_[A-Z_]+\b/g) ?? []));
    const explained = [...Object.keys(lictorVariables), ...Object.keys(programVariables)];
    expect(explained.filter((name) => name.startsWith("LICTOR_")).sort()).toEqual([...read].sort());
  });

  test("that the documents name exist", async () => {
    const program =
      (await readPage("src/cli/lictor-variables.ts")) + Object.keys({ ...lictorVariables, ...programVariables }).join();
    const names = documents
      .filter(({ path }) => path === "README.md" || path.startsWith("docs/"))
      .flatMap(({ path, text }) =>
        (text.match(/\b(?:LICTOR|PREFECT)_[A-Z_]*[A-Z]\b/g) ?? []).map((name) => ({ path, name })),
      );
    const known = ["PREFECT_PROFILE", "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME"];
    const isUnknown = ({ name }: { name: string }) =>
      !known.includes(name) && !program.includes(name) && findSetting(name) === undefined;
    expect(names.filter(isUnknown)).toEqual([]);
  });
});

test("every warning and error is in docs/messages.md", async () => {
  const page = await readPage("docs/messages.md");
  const texts = await readMessageTexts();
  expect(texts.length).toBeGreaterThan(100);
  expect(texts.filter(({ text }) => !page.includes(text))).toEqual([]);
});

test("docs/exit-codes.md explains the exit statuses of programs", async () => {
  const page = await readPage("docs/exit-codes.md");
  for (const status of [0, -9, -15, 1, 125, 126, 127, 137, 143, 247, 0xc000013a, 77]) {
    const { explanation, resolution } = explainExit(status);
    expect(page).toContain(`| ${status === 77 ? "any other" : status} | ${explanation} | ${resolution} |`);
  }
});

test("README.md has the figures of bench/results.json (`npm run docs` writes them)", async () => {
  const readme = await readPage("README.md");
  expect(readme).toBe(await readmeWithFigures(readme));
});

test("README.md has at most 150 lines", async () => {
  expect((await readPage("README.md")).split("\n").length).toBeLessThanOrEqual(150);
});
