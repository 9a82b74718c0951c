// When a machine that cannot start programs tries again, and what it says about that.
import { expect, test } from "vitest";
import { type Clock, replaceClock } from "../../src/async/clock.ts";
import { ShortageError } from "../../src/process/system-errors.ts";
import { MachineHealth } from "../../src/run/machine-health.ts";
import { recordingLogger } from "../fault/test-socket.ts";

const noProcess = new ShortageError("EAGAIN", "spawn x EAGAIN: No further process.");
const noHandle = new ShortageError("EMFILE", "spawn x EMFILE: No file handle.");

/** A machine at a time that the test sets. Dispose of the clock at the end. */
function openMachine() {
  const { log, records } = recordingLogger();
  let nowMs = 1_000_000;
  const unused = (): never => {
    throw new Error("not used here");
  };
  const clock: Clock = { monotonicMs: () => nowMs, wallClockMs: unused, startTimer: unused, timeoutSignal: unused };
  const replaced = replaceClock(clock);
  const machine = new MachineHealth(log);
  return {
    machine,
    records,
    pass(ms: number) {
      nowMs += ms;
    },
    /** A flow run that cannot be started. */
    fail(shortage = noProcess) {
      using _attempt = machine.attempt();
      machine.failed(shortage);
    },
    [Symbol.dispose]: () => replaced[Symbol.dispose](),
  };
}

test("a pause after a failed start doubles from 5 s to 60 s, and a start that succeeds ends it", () => {
  using opened = openMachine();
  const { machine } = opened;
  const pauses: number[] = [];
  for (let count = 0; count < 6; count++) {
    expect(machine.isClosed).toBe(false);
    opened.fail();
    pauses.push(machine.opensInMs);
    expect(machine.isClosed).toBe(true);
    opened.pass(machine.opensInMs);
  }
  expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  expect(machine.problem).toBe(noProcess.message);
  machine.attempt().succeeded();
  expect([machine.problem, machine.isClosed]).toEqual([null, false]);
  opened.fail();
  expect(machine.opensInMs).toBe(5_000);
});

test("flow runs that fail at the same time count once, and one of them that started earlier proves nothing", () => {
  using opened = openMachine();
  const { machine } = opened;
  const early = machine.attempt();
  opened.pass(1);
  for (let count = 0; count < 5; count++) opened.fail();
  expect(machine.opensInMs).toBe(5_000);
  early.succeeded();
  expect(machine.problem).toBe(noProcess.message);
});

test("after the pause one flow run at a time is tried", () => {
  using opened = openMachine();
  const { machine } = opened;
  opened.fail();
  opened.pass(5_000);
  expect(machine.isClosed).toBe(false);
  const attempt = machine.attempt();
  expect([machine.isClosed, machine.opensInMs]).toEqual([true, Number.POSITIVE_INFINITY]);
  // Another worker claimed it first, or it was cancelled.
  attempt[Symbol.dispose]();
  attempt[Symbol.dispose]();
  expect(machine.isClosed).toBe(false);
  const next = machine.attempt();
  next.succeeded();
  expect(machine.isClosed).toBe(false);
  machine.attempt();
  expect(machine.isClosed).toBe(false);
});

test("each kind of shortage is one warning until a start succeeds, which is said too", () => {
  using opened = openMachine();
  for (const shortage of [noProcess, noHandle, noProcess, noHandle]) opened.fail(shortage);
  opened.machine.attempt().succeeded();
  opened.machine.attempt().succeeded();
  opened.fail();
  const effect = "Claimed flow runs are given back. New ones are taken at most every 5 to 60 s.";
  expect(opened.records.map(({ level, msg }) => [level, msg])).toEqual([
    [40, `This machine cannot start flow runs: ${noProcess.message} ${effect}`],
    [40, `This machine cannot start flow runs: ${noHandle.message} ${effect}`],
    [30, "This machine can start flow runs again."],
    [40, `This machine cannot start flow runs: ${noProcess.message} ${effect}`],
  ]);
});

test("a problem is forgotten if nothing was tried for three minutes", () => {
  using opened = openMachine();
  opened.fail();
  opened.machine.foundObstacle("No directory for temporary files.");
  opened.pass(180_001);
  expect(opened.machine.problem).toBeNull();
  opened.fail();
  expect(opened.machine.opensInMs).toBe(5_000);
});

test("an obstacle is a problem until the next flow run does not meet it, and causes no pause", () => {
  using opened = openMachine();
  const { machine } = opened;
  machine.foundObstacle("No directory for temporary files.");
  expect([machine.problem, machine.isClosed]).toEqual(["No directory for temporary files.", false]);
  machine.foundObstacle(null);
  expect(machine.problem).toBeNull();
});
