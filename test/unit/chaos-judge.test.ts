// The verdicts of the chaos test.
import { expect, test } from "vitest";
import type { State, StateType } from "../../src/api/wire.ts";
import { judge, type RunFacts } from "../chaos/judge.ts";

const facts: RunFacts = {
  kind: "reports",
  states: [],
  lines: [],
  killedAtMs: [],
  toldToEnd: 0,
  cancelledAtMs: null,
  engineEndedAtMs: [],
};

/** States a second apart, the first one at 0. */
function states(...types: StateType[]): State[] {
  return types.map((type, index) => ({
    type,
    name: type,
    message: null,
    timestamp: new Date(index * 1000).toISOString(),
  }));
}

/** Crashed at the time 1000, as lictor reports it of a container whose engine ended during the start. */
const inDoubt = states("PENDING", "CRASHED").map((state) => ({
  ...state,
  message: "Flow run could not be watched. The Docker engine does not know whether its program was executed.",
}));

const start = { id: "", pid: 1, atMs: 0, what: "start" } as const;
const end = { ...start, atMs: 500, what: "end" } as const;
const whole = [start, end];
const again = [start, start, end];

test.each<[verdict: string | null, rule: string, run: Partial<RunFacts>]>([
  [null, "executed and completed", { states: states("PENDING", "COMPLETED"), lines: whole }],
  [null, "exited with 7", { kind: "exits", states: states("PENDING", "CRASHED"), lines: whole }],
  [null, "failed", { kind: "failing-flow", states: states("RUNNING", "FAILED"), lines: whole }],
  [null, "killed before its end", { states: states("RUNNING", "CRASHED"), lines: [start], killedAtMs: [1] }],
  [null, "killed before its start", { states: states("PENDING", "CRASHED"), killedAtMs: [1] }],
  [null, "killed after its end", { states: states("RUNNING", "CRASHED"), lines: whole, killedAtMs: [1] }],
  [null, "cancelled", { states: states("CANCELLING", "CANCELLED"), lines: [start], cancelledAtMs: 1 }],
  [null, "cancelled in vain", { states: states("CANCELLING", "COMPLETED"), lines: whole, cancelledAtMs: 1 }],
  [null, "the engine's crash first", { states: states("CRASHED", "CANCELLED"), lines: [start], cancelledAtMs: 1 }],
  [null, "killed after its last report", { states: states("CRASHED", "COMPLETED"), lines: whole, killedAtMs: [1] }],
  [null, "a final state restored", { states: states("COMPLETED", "PENDING", "COMPLETED"), lines: whole }],
  ["doubled", "two starts", { states: states("COMPLETED"), lines: [start, start, end] }],
  [null, "executed again by a pod that was told to end", { states: states("COMPLETED"), lines: again, toldToEnd: 1 }],
  ["doubled", "two starts of a pod that was killed", { states: states("COMPLETED"), lines: again, killedAtMs: [1] }],
  ["stuck", "no final state", { states: states("PENDING", "RUNNING"), lines: whole }],
  ["stuck", "no state", {}],
  ["lost", "never executed", { states: states("PENDING", "CRASHED") }],
  [null, "in doubt", { kind: "exits", states: inDoubt, engineEndedAtMs: [500] }],
  [null, "in doubt, and executed", { kind: "program", states: inDoubt, lines: whole, engineEndedAtMs: [500] }],
  ["lost", "in doubt of an engine that lived", { kind: "exits", states: inDoubt, engineEndedAtMs: [1500] }],
  ["lost", "in doubt of a flow", { kind: "flow", states: inDoubt, engineEndedAtMs: [500] }],
  [
    "lost",
    "lost by an engine that ended",
    { kind: "exits", states: states("PENDING", "CRASHED"), engineEndedAtMs: [500] },
  ],
  ["doubled", "executed twice in doubt", { kind: "exits", states: inDoubt, lines: again, engineEndedAtMs: [500] }],
  ["lost", "broken off by nobody", { states: states("RUNNING", "CRASHED"), lines: [start] }],
  ["untrue", "crashed in spite of its end", { states: states("RUNNING", "CRASHED"), lines: whole }],
  ["untrue", "completed without its end", { states: states("COMPLETED"), lines: [start], killedAtMs: [1] }],
  ["untrue", "cancelled by nobody", { states: states("CANCELLED"), lines: whole }],
  ["untrue", "cancelled though only killed", { states: states("CANCELLED"), lines: [start], killedAtMs: [1] }],
  ["untrue", "executed after its final state", { states: states("COMPLETED"), lines: [start, { ...end, atMs: 3000 }] }],
  ["untrue", "crashed, then completed", { states: states("CRASHED", "COMPLETED"), lines: whole }],
])("%s: %s", (verdict, _rule, run) => {
  expect(judge({ ...facts, ...run })?.kind ?? null).toBe(verdict);
});
