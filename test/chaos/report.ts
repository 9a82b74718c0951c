// The report of a chaos run: faults by kind, the verdicts, and what happened to each flow run that failed.
import { markdownTable } from "../support/markdown-table.ts";
import type { FaultRecord } from "./faults.ts";
import { type Finding, isInDoubt } from "./judge.ts";
import { type FaultKind, faultKinds, faultKindsOf } from "./plan.ts";
import type { ChaosResult, JudgedRun } from "./run-chaos.ts";

/** The verdicts, worst last. */
const findings: readonly Finding["kind"][] = ["lost", "doubled", "stuck", "untrue"];
/** Faults this long before and after the life of a flow run are shown with it. */
const aroundMs = 3_000;
const shownLogs = 60;
const shownRuns = 20;

/** Returns whether nothing was found. */
export function isFlawless({ runs, leftovers, problems }: ChaosResult): boolean {
  return runs.every(({ finding }) => finding === null) && leftovers.length === 0 && problems.length === 0;
}

/** Returns the whole report. */
export function formatReport(result: ChaosResult): string {
  const { runs, leftovers, problems, options } = result;
  const failed = runs.filter(({ finding }) => finding !== null);
  const { seed, minutes } = options;
  const type = options.poolType === "process" ? "" : ` --pool-type ${options.poolType}`;
  const only = options.kinds.length < faultKindsOf(options.poolType).length ? ` --only ${options.kinds.join(",")}` : "";
  const again = `npm run chaos --${type} --seed ${seed} --minutes ${minutes} --runs ${options.runs} --faults ${options.faults}${only}`;
  return [
    ...failed.slice(0, shownRuns).map((run) => formatRun(result, run)),
    ...(failed.length > shownRuns ? [`${failed.length - shownRuns} more flow runs failed.\n`] : []),
    ...problems.map((problem) => `PROBLEM: ${problem}`),
    ...leftovers.map((leftover) => `LEFT OVER: ${leftover}`),
    faultTable(result),
    "",
    verdictTable(result),
    "",
    `The same plan again: ${again}`,
  ].join("\n");
}

function faultTable({ faults, skipped }: ChaosResult): string {
  const kinds = (Object.keys(faultKinds) as FaultKind[]).filter(
    (kind) => faults.some((fault) => fault.kind === kind) || skipped.includes(kind),
  );
  const rows = kinds.map((kind) => {
    const count = faults.filter((fault) => fault.kind === kind).length;
    const without = skipped.filter((each) => each === kind).length;
    return [kind, `${count}${without > 0 ? ` (${without} without a target)` : ""}`, faultKinds[kind]];
  });
  return markdownTable(["fault", "times", "what it does"], [...rows, ["all", `${faults.length}`, ""]]);
}

function verdictTable({ runs, leftovers, problems }: ChaosResult): string {
  const count = (kind: Finding["kind"]): string => `${runs.filter(({ finding }) => finding?.kind === kind).length}`;
  const table = markdownTable(
    ["flow runs", ...findings, "left over", "other problems"],
    [[`${runs.length}`, ...findings.map(count), `${leftovers.length}`, `${problems.length}`]],
  );
  const inDoubt = runs.filter(({ facts }) => isInDoubt(facts)).length;
  if (inDoubt === 0) return table;
  return `${table}\n\nCrashed, because nobody knows whether the program was executed before its container engine ended: ${inDoubt}.`;
}

/** The states, lines, faults and log records of one flow run, in the order of their times. */
function formatRun(result: ChaosResult, { flowRun, facts, finding, logs }: JudgedRun): string {
  const states = facts.states.map(({ timestamp, name, message }) => ({
    atMs: Date.parse(timestamp ?? ""),
    text: `state ${name}${message ? `: ${message}` : ""}`,
  }));
  const lines = facts.lines.map(({ atMs, what, pid }) => ({ atMs, text: `execution: ${what} in process ${pid}` }));
  const killed = facts.killedAtMs.map((atMs) => ({ atMs, text: "killed" }));
  const cancelled = facts.cancelledAtMs === null ? [] : [{ atMs: facts.cancelledAtMs, text: "cancelled" }];
  const own = [...states, ...lines, ...killed, ...cancelled];
  const times = [...own, ...logs].map(({ atMs }) => atMs).filter((atMs) => atMs > 0);
  const [fromMs, untilMs] = [Math.min(...times) - aroundMs, Math.max(...times) + aroundMs];
  const around = result.faults
    .filter((fault) => fault.untilMs >= fromMs && fault.fromMs <= untilMs)
    .map((fault) => ({ atMs: fault.fromMs, text: describeFault(fault) }));
  const events = result.events.filter(({ atMs }) => atMs >= fromMs && atMs <= untilMs);
  const log = logs.slice(0, shownLogs).map(({ atMs, text }) => ({ atMs, text: `log ${text}` }));
  const history = [...own, ...around, ...events, ...log]
    .sort((one, other) => one.atMs - other.atMs)
    .map(({ atMs, text }) => `  ${seconds(atMs - result.startedAtMs)} ${text}`);
  return [`${finding?.kind.toUpperCase()}: ${flowRun.name} ${flowRun.id}: ${finding?.why}`, ...history, ""].join("\n");
}

function describeFault({ kind, fromMs, untilMs, detail }: FaultRecord): string {
  return `FAULT ${kind} for ${((untilMs - fromMs) / 1000).toFixed(1)} s${detail ? `: ${detail}` : ""}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2).padStart(8)} s`;
}
