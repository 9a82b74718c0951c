// `npm run test:compat`: the server tests against releases of Prefect, server and engine, and on releases of Node.js.
import { mkdir, writeFile } from "node:fs/promises";
import { parseArgs, stripVTControlCharacters } from "node:util";
import { inCheckout } from "../support/checkout.ts";
import { MissingPythonError } from "../support/find-python.ts";
import { testedReleases } from "../support/prefect-packages.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { runScript } from "../support/run-script.ts";
import { tally } from "../support/test-results.ts";
import { ensureNode } from "./node-binaries.ts";
import { type Column, resultsTable } from "./results-table.ts";
import { runTests } from "./run-tests.ts";

const NODE_MAJORS = ["20", "22", "24", "26"];
const FOLDER = "test/server";
/** The path of a flow run, from its claim to its end: what matters most, and a fifth of the time. */
const CORE = ["cancellation", "flow-runs", "job-configuration"].map((file) => `${FOLDER}/${file}.test.ts`);
const REASON_LINES = 12;
const RESULTS_FILE = inCheckout(".cache/compat.json");

/** One column to be: prepares what it runs with, which gives its title and its environment. */
interface Subject {
  table: "Prefect" | "Node.js";
  name: string;
  folders: readonly string[];
  prepare(): Promise<{ title: string; env: Record<string, string> }>;
}

type Tables = Record<Subject["table"], Column[]>;

/**
 * The releases and `node` named on the command line, or all; `--complete` adds the other tests to the newest, `--core`
 * takes of the others the path of a flow run only.
 */
async function readSubjects(): Promise<Subject[]> {
  const options = { complete: { type: "boolean" }, core: { type: "boolean" } } as const;
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const folders = values.core ? CORE : [FOLDER];
  const releases = await testedReleases();
  const newest = releases.at(-1);
  const known = [...releases, "node"];
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`'${unknown.join("', '")}': known are ${known.join(", ")}.`);
  const chosen = positionals.length > 0 ? positionals : known;
  return chosen.flatMap((name): Subject[] => {
    if (name === "node") return NODE_MAJORS.map((major) => nodeSubject(major, folders));
    return [prefectSubject(name, name === newest && values.complete ? ["test"] : folders, name === newest)];
  });
}

/** The newest release is tested on PostgreSQL where that is installed, the others on SQLite. */
function prefectSubject(release: string, folders: readonly string[], isNewest: boolean): Subject {
  return {
    table: "Prefect",
    name: release,
    folders,
    async prepare() {
      await ensurePythonEnvironment(console.log, release);
      const database = isNewest ? {} : { LICTOR_TEST_DATABASE: "sqlite" };
      return { title: release, env: { LICTOR_TEST_PREFECT: release, ...database } };
    },
  };
}

function nodeSubject(major: string, folders: readonly string[]): Subject {
  return {
    table: "Node.js",
    name: major,
    folders,
    async prepare() {
      const { path, version } = await ensureNode(major, console.log);
      return { title: version, env: { LICTOR_TEST_NODE: path, LICTOR_TEST_PREFECT: "" } };
    },
  };
}

async function compat(stop: AbortSignal): Promise<void> {
  const tables: Tables = { Prefect: [], "Node.js": [] };
  for (const subject of await readSubjects()) {
    console.log(`\n=== ${subject.table} ${subject.name}`);
    tables[subject.table].push(await run(subject, stop));
    await mkdir(inCheckout(".cache"), { recursive: true });
    await writeFile(RESULTS_FILE, JSON.stringify(tables, null, 2));
  }
  report(tables);
}

/** Runs one subject; whatever keeps it from running is its result. */
async function run({ name, folders, prepare }: Subject, stop: AbortSignal): Promise<Column> {
  const startedAtMs = Date.now();
  const end = () => ({ durationMs: Date.now() - startedAtMs });
  try {
    const { title, env } = await prepare();
    stop.throwIfAborted();
    return { title, results: await runTests({ folders, env, stop }), ...end() };
  } catch (error) {
    // Neither is the release's fault, and the next one would meet it too.
    if (stop.aborted || error instanceof MissingPythonError) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    console.error(problem);
    const failure = { file: "", title: "could be tested", outcome: "failed", reason: problem } as const;
    return { title: name, results: [failure], problem, ...end() };
  }
}

/** The tables, why tests failed, and as the last line the tally of all runs. */
function report(tables: Tables): void {
  for (const [what, columns] of Object.entries(tables)) {
    const shown = columns.map((column) => ({ ...column, results: column.results.filter(isShown) }));
    if (columns.length > 0) console.log(`\n${resultsTable(what, shown)}`);
  }
  const failures = Object.entries(tables).flatMap(([what, columns]) =>
    columns.flatMap((column) => failuresOf(`${what} ${column.title}`, column)),
  );
  if (failures.length > 0) console.log(`\n${failures.join("\n")}`);
  const results = Object.values(tables).flatMap((columns) => columns.flatMap((column) => column.results));
  if (results.some(({ outcome }) => outcome === "failed")) process.exitCode = 1;
  console.log(`\n${tally(results)}`);
}

/** Said again at the end, since what vitest printed of them is far above the table by then. */
function failuresOf(subject: string, { results }: Column): string[] {
  return results
    .filter(({ outcome }) => outcome === "failed")
    .map(({ file, title, reason = "" }) => {
      const shown = stripVTControlCharacters(reason).split("\n").slice(0, REASON_LINES);
      return [`FAILED on ${subject}: ${file} > ${title}`, ...shown.map((line) => `    ${line}`)].join("\n");
    });
}

/** What failed outside any file is shown in every table. */
function isShown({ file }: { file: string }): boolean {
  return file === "" || file.startsWith(`${FOLDER}/`);
}

await runScript("The compatibility tests broke off", compat);
