// Reads the imports of src/ and keeps the drawing in ARCHITECTURE.md true.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";

/** The folders from top to bottom: each may import from those after it, and from itself. */
const LAYERS = [
  "cli",
  "host",
  "status",
  "doctor",
  "worker",
  "run",
  "infrastructure",
  "job",
  "program",
  "journal",
  "sockets",
  "api",
  "process",
  "settings",
  ".",
  "flows",
  "async",
];

interface Import {
  file: string;
  target: string;
  from: string;
  to: string;
  typeOnly: boolean;
}

/** Every import between files of src/, those of types only and dynamic ones included. */
async function readImports(): Promise<Import[]> {
  const root = inCheckout("src");
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(".ts"));
  const imports = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(root, file), "utf8");
      const found = text.matchAll(
        /^(?:import|export) (type )?[^;]*?from "(\.[^"]+\.ts)";|\bimport\("(\.[^"]+\.ts)"\)/gm,
      );
      return [...found].map((match) => {
        const target = relative(root, join(root, dirname(file), match[2] ?? match[3] ?? ""));
        return { file, target, from: folderOf(file), to: folderOf(target), typeOnly: match[1] !== undefined };
      });
    }),
  );
  return imports.flat();
}

function folderOf(file: string): string {
  return dirname(file).split("/")[0] ?? ".";
}

function groupByFile(imports: readonly Import[]): Map<string, Import[]> {
  const groups = new Map<string, Import[]>();
  for (const each of imports) groups.set(each.file, [...(groups.get(each.file) ?? []), each]);
  return groups;
}

/** The files of each circle of imports. */
function findCircles(imports: readonly Import[]): string[][] {
  const targets = groupByFile(imports);
  const circles: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start !== -1) circles.push([...path.slice(start), file]);
    if (start !== -1 || done.has(file)) return;
    for (const { target } of targets.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  return circles;
}

describe("src", () => {
  test("has no folder that the drawing does not show", async () => {
    const folders = new Set((await readImports()).map(({ from }) => from));
    expect([...folders].filter((folder) => !LAYERS.includes(folder))).toEqual([]);
  });

  test("imports downwards only, types too", async () => {
    const imports = await readImports();
    expect(imports.length).toBeGreaterThan(300);
    const wrong = imports.filter(({ from, to }) => LAYERS.indexOf(to) < LAYERS.indexOf(from));
    expect(wrong).toEqual([]);
  });

  test("has no circles of imports between files", async () => {
    expect(findCircles(await readImports())).toEqual([]);
  });

  test("knows infrastructure in a flow run's life by types only", async () => {
    const imports = await readImports();
    const isInfrastructure = ({ from, to, typeOnly }: Import) => from === "run" && to === "infrastructure" && !typeOnly;
    expect(imports.filter(isInfrastructure)).toEqual([]);
  });
});
