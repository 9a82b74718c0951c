// Real children: how they are started, and that nothing of their group outlives a termination.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { describe, expect, inject, test } from "vitest";
import { descendantGroups } from "../../src/process/process-groups.ts";
import { startProcess } from "../../src/process/start-process.ts";
import { signalGroup, terminate } from "../../src/process/terminate.ts";
import { inCheckout } from "../support/checkout.ts";
import { pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { runCommand } from "../support/run-command.ts";
import { waitFor } from "../support/wait-for.ts";

const program = (name: string): string => inCheckout(`test/fixtures/programs/${name}`);
const env = { PATH: process.env.PATH ?? "" };
const never = new AbortController().signal;

async function start(argv: readonly string[]): ReturnType<typeof startProcess> {
  return await startProcess({ argv, cwd: inCheckout("."), env, output: "ignore" });
}

describe("startProcess", () => {
  test("gives the child a process group and session of its own", async () => {
    const child = await start([process.execPath, "-e", "setInterval(()=>0,1000)"]);
    expect(signalGroup(child.pid, 0)).toBe(true);
    signalGroup(child.pid, "SIGKILL");
    expect(await child.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(signalGroup(child.pid, "SIGTERM")).toBe(false);
  });

  test("reports a child that is gone at once", async () => {
    const child = await start([process.execPath, "-e", "process.exit(7)"]);
    expect(await child.exited).toEqual({ code: 7, signal: null });
  });

  test.each([
    ["a program that does not exist", ["/no/such/program"], "ENOENT"],
    ["a file that is no program", [inCheckout("package.json")], "EACCES"],
  ])("throws the system's reason for %s", async (_, argv, code) => {
    await expect(start(argv)).rejects.toMatchObject({ code });
  });

  test("throws for a working directory that does not exist", async () => {
    await expect(startProcess({ argv: ["true"], cwd: "/no/such/directory", env, output: "ignore" })).rejects.toThrow(
      "The working directory '/no/such/directory' does not exist. Create it, or correct the job variable working_dir.",
    );
  });
  test("names the largest variables of an environment that is too large, never their values", async () => {
    const large = { ...env, SMALL: "s3cret", LARGE: "s3cret".repeat(30_000) };
    const starting = startProcess({ argv: ["true"], cwd: "/", env: large, output: "ignore" });
    await expect(starting).rejects.toThrow(/too large for the system \(E2BIG\).*largest variables: LARGE \(180,007\)/);
    await expect(starting).rejects.not.toThrow("s3cret");
  });

  test("waits for a moment for file handles", async () => {
    const run = `ulimit -n 128; exec "$0" --import tsx ${program("start-without-handles.ts")}`;
    const { stdout, stderr } = await runCommand("bash", ["-c", run, process.execPath], { cwd: inCheckout(".") });
    expect({ stdout, stderr }).toEqual({ stdout: "7\n", stderr: "" });
  });
});

test("a start without any file handle fails with a shortage that says what to do", async () => {
  const run = `ulimit -n 128; exec "$0" --import tsx ${program("start-without-handles.ts")} for-ever`;
  const { stdout } = await runCommand("bash", ["-c", run, process.execPath], { cwd: inCheckout(".") });
  expect(stdout).toMatch(/^EMFILE: .*EMFILE.*: This worker has no file handle left\. Raise its limit/);
});

describe("terminate", () => {
  test("lets a child end by itself on SIGTERM", async () => {
    const child = await start([process.execPath, "-e", "setInterval(()=>0,1000)"]);
    await terminate(child, 10_000, never);
    expect(await child.exited).toEqual({ code: null, signal: "SIGTERM" });
  });

  test("kills one that ignores SIGTERM after the grace", async () => {
    const child = await start([process.execPath, program("ignore-sigterm.mjs")]);
    await terminate(child, 600, never);
    expect(await child.exited).toMatchObject({ code: null });
    expect(signalGroup(child.pid, 0)).toBe(false);
  });

  test("cuts the grace short when there is no more time", async () => {
    const child = await start([process.execPath, program("ignore-sigterm.mjs")]);
    const now = new AbortController();
    const terminated = terminate(child, 60_000, now.signal);
    now.abort();
    await terminated;
    expect(signalGroup(child.pid, 0)).toBe(false);
  });

  test("ends grandchildren whose parent has left", async () => {
    const child = await start([process.execPath, program("leave-grandchild.mjs")]);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(signalGroup(child.pid, 0)).toBe(true);
    await terminate(child, 5_000, never);
    await waitFor(() => !signalGroup(child.pid, 0), { timeoutMs: 2_000, what: "the group to be gone" });
  });

  test("ends a grandchild in a session of its own", async () => {
    const mark = randomUUID();
    const living = () => pidsWithEnvironment("MARK", mark);
    const argv = [process.execPath, program("start-session.mjs")];
    const child = await startProcess({ argv, cwd: inCheckout("."), env: { ...env, MARK: mark }, output: "ignore" });
    const sessions = async (): Promise<boolean> =>
      (await living()).some((pid) => pid !== child.pid && signalGroup(pid, 0));
    await waitFor(sessions, { timeoutMs: 10_000, what: "the grandchild to lead a group" });
    await terminate(child, 10_000, never);
    await waitFor(async () => (await living()).length === 0, { timeoutMs: 2_000, what: "both to be gone" });
  });

  test("ends all grandchildren of many children at once with few file handles", async () => {
    const mark = randomUUID();
    const run = `ulimit -n 128; exec "$0" --import tsx ${program("end-many-groups.ts")} 20 ${mark}`;
    const { code, stdout, stderr } = await runCommand("bash", ["-c", run, process.execPath], { cwd: inCheckout(".") });
    const left = await pidsWithEnvironment("MARK", mark);
    for (const pid of left) signalProcess(pid, "SIGKILL");
    expect({ code, stdout, stderr, left }).toEqual({ code: 0, stdout: "ended\n", stderr: "", left: [] });
  });

  test("sends no SIGKILL to a group that has been empty meanwhile", async () => {
    // The grandchild leads a group of its own and ends at once on SIGTERM; its parent stays until SIGKILL.
    const script = `trap "" TERM; setsid ${process.execPath} -e "setInterval(()=>0,1000)" & wait; wait; sleep 600`;
    const child = await start(["/bin/sh", "-c", script]);
    const groups = await waitFor(
      async () => {
        const found = (await descendantGroups(child.pid)) ?? [];
        return found.length === 2 && found;
      },
      { timeoutMs: 10_000, what: "the grandchild's group" },
    );
    const sent: [group: number, signal: string][] = [];
    await terminate(child, 3_000, never, (group, signal) => {
      if (signal !== 0) sent.push([group, signal]);
      return signalGroup(group, signal);
    });
    const [leader, grandchild] = groups;
    expect(sent).toEqual([
      [leader, "SIGTERM"],
      [grandchild, "SIGTERM"],
      [leader, "SIGKILL"],
    ]);
  });

  test("does not wait for a process that has ended and whose parent does not notice", async () => {
    const parent = spawn(inject("python"), [program("unnoticed_end.py")], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      const [line] = (await once(parent.stdout, "data")) as [Buffer];
      const leader = Number(line.toString());
      await terminate({ pid: leader }, 600_000, never);
      // It is still there, but only in the table.
      expect(signalGroup(leader, 0)).toBe(true);
    } finally {
      parent.kill("SIGKILL");
    }
  });
});
