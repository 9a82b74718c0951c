// What becomes of the processes that a program left behind.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { endLeftovers, type LeftoverOptions } from "../../src/process/leftovers.ts";
import { startProcess } from "../../src/process/start-process.ts";
import { signalGroup } from "../../src/process/terminate.ts";
import { inCheckout } from "../support/checkout.ts";
import { isAlive, pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

const never = new AbortController().signal;
const sleeping = `${process.execPath} -e "setInterval(()=>0,1000)"`;
const stubborn = `${process.execPath} ${inCheckout("test/fixtures/programs/ignore-sigterm.mjs")}`;

/** Runs a shell script that leaves `count` processes behind. Disposing ends all processes that it started. */
async function leave(script: string, count: number) {
  const mark = randomUUID();
  const options = { cwd: "/", env: { PATH: process.env.PATH ?? "", MARK: mark }, output: "ignore" } as const;
  const { pid, exited } = await startProcess({ ...options, argv: ["bash", "-c", script] });
  await exited;
  const living = () => pidsWithEnvironment("MARK", mark);
  await waitFor(async () => (await living()).length === count, { timeoutMs: 20_000, what: `${count} processes` });
  const sent: [group: number, signal: string | number][] = [];
  let found: readonly number[] = [];
  return {
    pid,
    living,
    sent,
    found: () => found,
    end: (given: Partial<LeftoverOptions> = {}) =>
      endLeftovers(
        {
          session: pid,
          graceMs: 20_000,
          now: never,
          async onFound(pids) {
            found = pids;
            return true;
          },
          ...given,
        },
        (group, signal) => {
          sent.push([group, signal]);
          return signalGroup(group, signal);
        },
      ),
    async [Symbol.asyncDispose]() {
      for (const left of await living()) signalProcess(left, "SIGKILL");
    },
  };
}

describe("processes that a program left behind", () => {
  test("are ended in its group and in other groups of its session, and are counted", async () => {
    await using program = await leave(`${sleeping} & set -m; ${sleeping} &`, 2);
    const pids = await program.living();
    expect(await program.end()).toEqual([]);
    expect([...program.found()].sort()).toEqual([...pids].sort());
    expect(await program.living()).toEqual([]);
    expect(program.sent.map(([, signal]) => signal)).toEqual(["SIGTERM", "SIGTERM"]);
    expect(new Set(program.sent.map(([group]) => group)).size).toBe(2);
  });

  test("are not ended if they began a session of their own", async () => {
    await using program = await leave(`setsid ${sleeping} & ${sleeping} &`, 2);
    expect(await program.end()).toEqual([]);
    expect(program.found()).toHaveLength(1);
    expect(await program.living()).toHaveLength(1);
  });

  test("get SIGKILL after the grace time", async () => {
    await using program = await leave(`${stubborn} &`, 1);
    expect(await program.end({ graceMs: 500 })).toEqual([]);
    expect(await program.living()).toEqual([]);
    expect(program.sent.map(([, signal]) => signal)).toEqual(["SIGTERM", "SIGKILL"]);
  });

  test("get SIGKILL within the call when there is no more time", async () => {
    await using program = await leave(`${stubborn} &`, 1);
    const now = new AbortController();
    const ended = program.end({ now: now.signal });
    await waitFor(() => program.sent.length > 0, { timeoutMs: 20_000, what: "SIGTERM" });
    now.abort();
    expect(program.sent.at(-1)).toEqual([program.pid, "SIGKILL"]);
    await ended;
    expect(await program.living()).toEqual([]);
  });

  test.each([
    ["are kept without a grace time", { graceMs: null }],
    ["are kept if they are not of the program", { onFound: async () => false }],
  ])("%s", async (_, given) => {
    await using program = await leave(`${sleeping} &`, 1);
    expect(await program.end(given)).toEqual([]);
    expect(program.sent).toEqual([]);
    expect(await program.living()).toHaveLength(1);
  });

  test("do not count if they end by themselves within a second", async () => {
    await using program = await leave("sleep 0.5 &", 1);
    expect(await program.end()).toEqual([]);
    expect(program.found()).toEqual([]);
  });

  test("are none if the number of the session belongs to a living process by now", async () => {
    await using program = await leave(`setsid ${sleeping} &`, 1);
    const [other = 0] = await program.living();
    expect(await program.end({ session: other })).toEqual([]);
    expect([program.found(), program.sent, isAlive(other)]).toEqual([[], [], true]);
  });
});
