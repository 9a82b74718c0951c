// The instance directories, as one process sees its own and those of others.
import { utimes } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { expect, test } from "vitest";
import {
  createInstance,
  findDeadInstances,
  journalOf,
  listLivingInstances,
  removeDeadInstances,
} from "../../src/host/instances.ts";
import { makePrivateDirectories } from "../../src/journal/journal-files.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

test("a process is alive to itself, also without a socket, and another one without a socket is dead after a minute", async () => {
  await using state = await makeTemporaryDirectory("lictor-instances-");
  const signal = AbortSignal.timeout(10_000);
  await using own = await createInstance(state.path);
  const other = `${own.directory.slice(0, -8)}00000000`;
  await makePrivateDirectories(journalOf(other));
  const before = new Date(Date.now() - 120_000);
  for (const directory of [own.directory, other]) await utimes(directory, before, before);
  expect(dirname(other)).toBe(dirname(own.directory));
  expect(await listLivingInstances(state.path, signal)).toEqual([basename(own.directory)]);
  expect(await findDeadInstances(state.path, signal)).toEqual([other]);
  await removeDeadInstances(state.path, signal);
  expect(await findDeadInstances(state.path, signal)).toEqual([]);
  expect(await listLivingInstances(state.path, signal)).toEqual([basename(own.directory)]);
});
