// Judges what became of one flow run: what the server says against what was executed and what was done to it.

import type { State, StateType } from "../../src/api/wire.ts";
import { finalTypes } from "../support/prefect-api.ts";
import type { ExecutionLine } from "./executions.ts";
import type { RunKind } from "./plan.ts";

/** All that is known about a flow run when everything is over. Times are milliseconds since 1970. */
export interface RunFacts {
  kind: RunKind;
  /** Oldest first. */
  states: readonly State[];
  lines: readonly ExecutionLine[];
  /** When processes of it were killed. */
  killedAtMs: readonly number[];
  /** How often a pod of it was told to end. An engine then schedules its flow run again. */
  toldToEnd: number;
  /** When the server accepted a cancellation. */
  cancelledAtMs: number | null;
  /** When a container engine ended. */
  engineEndedAtMs: readonly number[];
}

/** What is wrong. `lost`: not executed to its end, and nobody killed or cancelled it. */
export interface Finding {
  kind: "lost" | "doubled" | "stuck" | "untrue";
  why: string;
}

/** The state after an undisturbed execution. */
const ends: Record<RunKind, StateType> = {
  reports: "COMPLETED",
  exits: "CRASHED",
  script: "CRASHED",
  program: "FAILED",
  flow: "COMPLETED",
  "failing-flow": "FAILED",
};

/** They execute `prefect flow-run execute`. */
const withEngine: readonly RunKind[] = ["flow", "failing-flow"];

/** A line may be as much younger than the final state, because the two clocks are read by different processes. */
const slackMs = 1_000;

/** Returns what is wrong with the flow run, or null. */
export function judge(run: RunFacts): Finding | null {
  const starts = run.lines.filter(({ what }) => what === "start").length;
  if (starts > 1 + run.toldToEnd) return { kind: "doubled", why: `executed ${starts} times` };
  const last = run.states.at(-1);
  if (!last || !isFinal(last)) return { kind: "stuck", why: `still ${last?.name ?? "without a state"}` };
  return judgeEnd(run, last) ?? judgeHistory(run, last);
}

function judgeEnd(run: RunFacts, { type, name }: State): Finding | null {
  const began = run.lines.length > 0;
  const ended = run.lines.some(({ what }) => what === "end");
  const killed = run.killedAtMs.length > 0;
  const cancelled = run.cancelledAtMs !== null;
  if (isInDoubt(run)) return null;
  if (type === "CANCELLED" && cancelled) return null;
  if (type === "CRASHED" && killed) return null;
  if (ended) {
    if (type === ends[run.kind]) return null;
    return { kind: "untrue", why: `${name}, but it was executed to its end, which is ${ends[run.kind]}` };
  }
  if (type === "COMPLETED" || type === "FAILED") {
    return { kind: "untrue", why: `${name}, but it was ${began ? "not executed to its end" : "never executed"}` };
  }
  if (killed || cancelled) {
    const done = [...(killed ? ["killed"] : []), ...(cancelled ? ["cancelled"] : [])].join(" and ");
    return { kind: "untrue", why: `${name}, but it was ${done}` };
  }
  const what = began ? "its execution began and did not end" : "it was never executed";
  return { kind: "lost", why: `${name}: ${what}, and nobody killed or cancelled it` };
}

/** The execution must be over when a final state is reported, and a final state must stay. */
function judgeHistory(run: RunFacts, last: State): Finding | null {
  const finalMs = Date.parse(last.timestamp ?? "");
  const late = run.lines.find(({ atMs }) => atMs > finalMs + slackMs);
  if (late) {
    const seconds = ((late.atMs - finalMs) / 1000).toFixed(1);
    return { kind: "untrue", why: `its execution went on for ${seconds} s after ${last.name} was reported` };
  }
  const other = run.states.find((state) => isFinal(state) && state.type !== last.type);
  if (!other) return null;
  // An engine that is ended may report a crash before the worker reports the cancellation. The last report of a killed
  // engine may wait in the server until the worker has reported the crash.
  if (other.type === "CRASHED" && (last.type === "CANCELLED" || run.killedAtMs.length > 0)) return null;
  return { kind: "untrue", why: `${other.name} was reported before ${last.name}` };
}

/**
 * Returns whether nobody can know if this flow run was executed: its container engine ended while it started a program other
 * than Prefect's. It is not executed a second time, and its state says why.
 */
export function isInDoubt({ kind, states, engineEndedAtMs }: RunFacts): boolean {
  const last = states.at(-1);
  const claimedMs = Date.parse(states.find(({ type }) => type === "PENDING")?.timestamp ?? "");
  const lastMs = Date.parse(last?.timestamp ?? "");
  return (
    !withEngine.includes(kind) &&
    last?.type === "CRASHED" &&
    /does not know whether its program was executed/.test(last.message ?? "") &&
    engineEndedAtMs.some((atMs) => atMs >= claimedMs && atMs <= lastMs)
  );
}

function isFinal({ type }: State): boolean {
  return finalTypes.includes(type);
}
