// Which directories are projects whose dependencies are installed for an engine.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isPrefectProject } from "../../src/program/uv-project.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

test.each<[what: string, content: string, expected: boolean]>([
  ["dependencies on Prefect", "[project]\ndependencies = ['prefect>=3']\n", true],
  ["no dependencies", "[project]\n", false],
  ["invalid TOML", "[project\n", false],
  [
    "integers above 2 ** 53 in a table of others",
    "[project]\ndependencies = ['prefect']\n[tool.other]\nx = 9223372036854775807\n",
    true,
  ],
])("a pyproject.toml with %s", async (_, content, expected) => {
  await using directory = await makeTemporaryDirectory();
  await writeFile(join(directory.path, "pyproject.toml"), content);
  expect(await isPrefectProject(directory.path)).toBe(expected);
});
