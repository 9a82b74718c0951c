// The journal on a real disk: what it keeps, what the next program takes over, and what it does when it cannot write.
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Journal } from "../../src/journal/journal.ts";
import { type JournalFiles, localFiles } from "../../src/journal/journal-files.ts";
import { recordingLogger } from "../fault/test-socket.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const ID = "0192f5d2-0000-7000-8000-00000000000a";

/** A journal in `root/name`. All other directories of `root` belong to dead programs. */
function openJournal(root: string, name: string, files: JournalFiles = localFiles) {
  const { log, records, warnings } = recordingLogger();
  const directory = join(root, name, "runs");
  const deadDirectories = async (): Promise<string[]> =>
    (await readdir(root))
      .filter((other) => other !== name && other !== "unreadable")
      .map((other) => join(root, other, "runs"));
  const unreadableDirectory = join(root, "unreadable");
  const messages = (): string[] => records.map(({ msg }) => msg);
  const journal = new Journal({ directory, unreadableDirectory, files, deadDirectories, log });
  return { journal, messages, warnings, directory };
}

const acceptAll = (): boolean => true;

describe("a journal", () => {
  test("keeps the newest record of a flow run, for its user only, and removes it with its directory", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    const { journal, directory } = openJournal(root.path, "a");
    await journal.write(ID, { phase: "claiming" });
    await journal.write(ID, { phase: "running" });
    await journal.synced();
    const file = join(directory, ID, "record.json");
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      version: 1,
      flowRunId: ID,
      record: { phase: "running" },
    });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    await journal.remove(ID);
    expect(await readdir(directory)).toEqual([]);
  });

  test("does not leave its directory for an id that is a path", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    const { journal, directory } = openJournal(root.path, "a");
    await journal.write("../../../escaped", {});
    await journal.write("..", {});
    expect((await readdir(directory)).sort()).toEqual(["%2E%2E", "%2E%2E%2F%2E%2E%2F%2E%2E%2Fescaped"]);
    expect(await readdir(root.path)).toEqual(["a"]);
  });

  test("that cannot be written says so once, and once when it can again", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    let isFull = true;
    const files: JournalFiles = {
      ...localFiles,
      async write(path, text) {
        if (isFull) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        await localFiles.write(path, text);
      },
    };
    const { journal, messages } = openJournal(root.path, "a", files);
    for (const phase of ["claiming", "running"]) await journal.write(ID, { phase });
    expect(journal.problem).toBe("ENOSPC");
    isFull = false;
    for (const phase of ["claiming", "running"]) await journal.write(ID, { phase });
    expect(journal.problem).toBeNull();
    expect(messages()).toEqual([
      expect.stringMatching(/cannot be written \(ENOSPC\)\. Flow runs go on\./),
      expect.stringMatching(/can be written again/),
    ]);
  });
});

describe("the records of a dead program", () => {
  test("are taken over by one of two programs, with all files beside them", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    const dead = openJournal(root.path, "dead");
    const ids = Array.from({ length: 20 }, (_, index) => `run-${index}`);
    for (const id of ids) {
      await dead.journal.write(id, { pool: "p" });
      await writeFile(join(dead.directory, id, "stdout"), id);
    }
    const [one, other] = [openJournal(root.path, "one"), openJournal(root.path, "other")];
    const taken = await Promise.all([one.journal.takeOver(acceptAll), other.journal.takeOver(acceptAll)]);
    // Each also sees the other's directory as that of a dead program here, so a record may move on, but only once at a time.
    const places = await Promise.all([one, other].map(({ directory }) => readdir(directory).catch(() => [])));
    expect(places.flat().sort()).toEqual([...ids].sort());
    expect(new Set(taken.flat().map(({ flowRunId }) => flowRunId)).size).toBe(20);
    const place = (places[0] as string[]).includes("run-7") ? one : other;
    expect(await readFile(join(place.directory, "run-7", "stdout"), "utf8")).toBe("run-7");
    expect([...one.messages(), ...other.messages()]).toEqual([]);
  });

  test("stay where they are if they are of another pool", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    const dead = openJournal(root.path, "dead");
    await dead.journal.write("mine", { pool: "p" });
    await dead.journal.write("another's", { pool: "q" });
    const { journal } = openJournal(root.path, "a");
    const taken = await journal.takeOver(({ pool }) => pool === "p");
    expect(taken).toEqual([{ flowRunId: "mine", record: { pool: "p" } }]);
    expect(await readdir(dead.directory)).toEqual(["another's"]);
  });

  test("that cannot be moved cause one warning, however often they are tried", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    await openJournal(root.path, "dead").journal.write(ID, {});
    const files: JournalFiles = {
      ...localFiles,
      async move() {
        throw Object.assign(new Error("permission denied"), { code: "EACCES" });
      },
    };
    const { journal, warnings } = openJournal(root.path, "a", files);
    for (let turn = 0; turn < 3; turn++) expect(await journal.takeOver(acceptAll)).toEqual([]);
    expect(warnings()).toEqual([expect.stringMatching(/cannot be taken over/)]);
  });

  test("leave no directory without a record behind", async () => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    await mkdir(join(root.path, "dead", "runs", "x", "output"), { recursive: true });
    const { journal, messages } = openJournal(root.path, "a");
    expect(await journal.takeOver(acceptAll)).toEqual([]);
    expect(await readdir(join(root.path, "dead", "runs"))).toEqual([]);
    expect(messages()).toEqual([]);
  });

  test.each([
    ["torn", '{"version":1,"flowRunId":"x","rec'],
    ["empty", ""],
    ["of another version", JSON.stringify({ version: 2, flowRunId: "x", record: {} })],
    ["of another program", '{"hello":"world"}'],
    ["no object", "null"],
  ])("that are %s are set aside with one warning", async (_what, text) => {
    await using root = await makeTemporaryDirectory("lictor-journal-");
    const directory = join(root.path, "dead", "runs", "x");
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "record.json"), text);
    const { journal, messages } = openJournal(root.path, "a");
    expect(await journal.takeOver(acceptAll)).toEqual([]);
    expect(await journal.takeOver(acceptAll)).toEqual([]);
    expect(messages()).toEqual([expect.stringMatching(/is not readable\. It was moved to .*unreadable/)]);
    expect(await readdir(join(root.path, "unreadable"))).toHaveLength(1);
  });
});
