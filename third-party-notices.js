// Collects the licences of all packages whose code esbuild has put into dist/. Run by esbuild.config.js.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const inPackage = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;

/**
 * Returns the text of THIRD-PARTY-NOTICES.txt: name, version and licence text of each package. `metafile` is esbuild's.
 * Throws an Error for a package without a licence text, because it must not be distributed.
 */
export async function thirdPartyNotices({ outputs }) {
  const files = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const directories = new Set(files.map((file) => inPackage.exec(file)?.[1]).filter((found) => found !== undefined));
  const packages = await Promise.all([...directories].map(readPackage));
  // Some packages leave the licence in the repository that they share with others.
  const textOf = ({ title, text, repository }) => {
    const found = text ?? packages.find((other) => other.repository === repository && other.text)?.text;
    if (found === undefined) throw new Error(`${title} has no licence text`);
    return found.trim();
  };
  const line = "=".repeat(80);
  const head = "lictor contains code of the packages below. This file has the licence of each of them.\n";
  const notices = packages
    .sort((one, other) => (one.title < other.title ? -1 : 1))
    .map((each) => `${line}\n${each.title}\n${line}\n\n${textOf(each)}\n`);
  return [head, ...notices].join("\n");
}

/** Returns name, version and licence of a package, and its licence text if it contains one. */
async function readPackage(directory) {
  const text = await readFile(join(directory, "package.json"), "utf8");
  const { name, version, license, licenses, repository } = JSON.parse(text);
  const files = (await readdir(directory)).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(directory, file), "utf8")));
  return {
    title: `${name} ${version} (${license ?? licenses?.[0].type})`,
    text: files.length > 0 ? texts.join("\n") : undefined,
    repository: repository?.url ?? repository,
  };
}
