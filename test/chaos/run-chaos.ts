// One chaos run: flow runs and faults by plan, then peace, then the verdicts.
import { setTimeout as delay } from "node:timers/promises";
import type { FlowRun, State } from "../../src/api/wire.ts";
import { type Arena, type ArenaEvent, openArena } from "./arena.ts";
import { type ExecutionLine, readExecutions } from "./executions.ts";
import { type FaultRecord, strike } from "./faults.ts";
import { type Finding, judge, type RunFacts } from "./judge.ts";
import { findLeftovers } from "./leftovers.ts";
import { type FaultKind, makePlan, type PlanOptions, type PoolTypeName, type RunKind } from "./plan.ts";
import { followTimeline } from "./timeline.ts";
import { readLogsOf } from "./worker-logs.ts";

/** `poolType` is that of the work pool. `settleSeconds` limits the wait for final states after the last fault. */
export interface ChaosOptions extends PlanOptions {
  poolType: PoolTypeName;
  settleSeconds: number;
}

/** A flow run with everything about it. */
export interface JudgedRun {
  flowRun: FlowRun;
  facts: RunFacts;
  finding: Finding | null;
  /** Of the workers, only for a flow run with a finding. */
  logs: readonly { atMs: number; text: string }[];
}

/** What came out. Times are milliseconds since 1970. */
export interface ChaosResult {
  options: ChaosOptions;
  startedAtMs: number;
  faults: readonly FaultRecord[];
  events: readonly ArenaEvent[];
  /** Faults that found nothing to strike. */
  skipped: readonly FaultKind[];
  runs: readonly JudgedRun[];
  leftovers: readonly string[];
  problems: readonly string[];
}

const progressMs = 15_000;
/** A busy machine may take so much longer than planned. */
const slowestFactor = 3;
const slowestMs = 60_000;
const settlePauseMs = 1_000;

/** Runs it. `say` gets progress. Throws when `stop` aborts. */
export async function runChaos(
  options: ChaosOptions,
  say: (line: string) => void,
  stop: AbortSignal,
): Promise<ChaosResult> {
  const plan = makePlan(options);
  await using arena = await openArena(options, stop);
  if (arena.disk === null) say("No file system can be mounted here: disk-full is skipped.");
  stop.throwIfAborted();
  const { startedAtMs } = arena;
  const faults: FaultRecord[] = [];
  const skipped: FaultKind[] = [];
  let created = 0;
  const items = [
    ...plan.runs.map((run, index) => ({
      atMs: run.atMs,
      lane: "flow runs",
      begin: async () => {
        await arena.createRun(run, index);
        created++;
      },
    })),
    ...plan.faults.map((fault) => ({
      atMs: fault.atMs,
      lane: null,
      begin: async () => {
        const record = await strike(arena, fault);
        if (record) faults.push(record);
        else skipped.push(fault.kind);
      },
    })),
  ];
  const progress = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAtMs) / 1000);
    say(`${seconds} s: ${created} flow runs created, ${faults.length} of ${plan.faults.length} faults over`);
  }, progressMs);
  try {
    const limitMs = options.minutes * 60_000 * slowestFactor + slowestMs;
    const left = await followTimeline(items, limitMs, stop);
    stop.throwIfAborted();
    if (left > 0) say(`The server is too slow: ${left} flow runs and faults of the plan are left out`);
    say(`All faults are over. Waiting for ${created} flow runs to end`);
    await settle(arena, options.settleSeconds * 1000, say, stop);
  } finally {
    clearInterval(progress);
  }
  stop.throwIfAborted();
  say("The workers are told to end");
  await Promise.all(arena.slots.map((slot) => slot.close()));
  const leftovers = await findLeftovers(arena);
  const runs = await judgeAll(arena);
  const { events, problems } = arena;
  return { options, startedAtMs, faults, events, skipped, runs, leftovers, problems };
}

/** Waits until every flow run has a final state, or the time is over. */
async function settle(arena: Arena, limitMs: number, say: (line: string) => void, stop: AbortSignal): Promise<void> {
  let [left, saidAtMs] = [Number.POSITIVE_INFINITY, performance.now()];
  for (const endMs = performance.now() + limitMs; !stop.aborted && performance.now() < endMs; ) {
    const unfinished = await arena.readRuns(true);
    if (unfinished.length === 0) return;
    if (unfinished.length < left && performance.now() - saidAtMs > progressMs) {
      [left, saidAtMs] = [unfinished.length, performance.now()];
      say(`${left} flow runs have not ended`);
    }
    await delay(settlePauseMs);
  }
}

async function judgeAll(arena: Arena): Promise<JudgedRun[]> {
  const executions = await readExecutions(arena.executionsFile);
  const judged: JudgedRun[] = [];
  for (const flowRun of await arena.readRuns()) {
    const states = await arena.read((api) => api.readStates(flowRun.id));
    // A state's time is that of its proposal, and a proposal may wait for the database. The current state is the last one.
    const earlier = states.filter(({ id }) => id !== flowRun.state?.id);
    const facts = gatherFacts(
      arena,
      flowRun,
      flowRun.state ? [...earlier, flowRun.state] : states,
      executions.get(flowRun.id) ?? [],
    );
    const finding = judge(facts);
    const logs = finding ? await readLogsOf(arena.logs, flowRun.id) : [];
    judged.push({ flowRun, facts, finding, logs });
  }
  return judged;
}

function gatherFacts(
  { killedAtMs, cancelledAtMs, toldToEnd, containers }: Arena,
  { id, name }: FlowRun,
  states: readonly State[],
  lines: readonly ExecutionLine[],
): RunFacts {
  return {
    kind: name.replace(/-\d+$/, "") as RunKind,
    states,
    lines,
    killedAtMs: killedAtMs.get(id) ?? [],
    toldToEnd: toldToEnd.filter((each) => each === id).length,
    cancelledAtMs: cancelledAtMs.get(id) ?? null,
    engineEndedAtMs: containers?.endedAtMs ?? [],
  };
}
