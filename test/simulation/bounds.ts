// What lictor processes must not exceed or end while a seed runs.
import { readClaimants } from "../../src/run/claimant.ts";
import type { RunRecord } from "../../src/run/run-record.ts";
import type { Owner } from "./virtual-clock.ts";
import type { World } from "./world.ts";

/** Bounds of the requests of lictor processes. Repetitions because of faults are included. */
const requestsPerStart = 20;
const requestsPerRun = 30;
const requestsPerSecond = 1;

/** Returns how many requests the lictor processes may send: some at each start, some for each flow run, and some per second. */
export function mostRequestsOf({ clock, lictors, runs, workerCount }: World): number {
  const workerSeconds = (clock.now / 1_000) * workerCount;
  return Math.round(lictors.length * requestsPerStart + runs.size * requestsPerRun + workerSeconds * requestsPerSecond);
}

/** Flow runs that were adopted after the claim of a new one may exceed the limit. Nothing else may. */
export function checkStart({ lictors, exceeded }: World, owner: Owner, flowRunId: string): void {
  const lictor = lictors.find((each) => each.owner === owner);
  const { limit, taken } = lictor?.slots ?? { limit: null, taken: 0 };
  const inFlight = lictor?.worker?.runs.list() ?? [];
  const place = inFlight.findIndex(({ flowRun }) => flowRun.id === flowRunId);
  const isAdopted = ({ claim: state, phase }: RunRecord): boolean =>
    phase !== "claiming" && readClaimants({ state, labels: {} })[0]?.instance !== lictor?.directory;
  const adoptedLater = inFlight.slice(place + 1).filter(isAdopted);
  if (limit !== null && taken - adoptedLater.length > limit)
    exceeded.push(`${owner.name} starts a flow run with ${taken} slots taken`);
}

/** Only the program of a flow run that was cancelled, or that is to run anew or has ended, may be ended. */
export function checkEnding(world: World, id: string): void {
  const { name, cancelledAtMs } = world.factsOf(id);
  const state = world.server.runs.get(id)?.state_type;
  if (state === "RUNNING" && cancelledAtMs === null) world.exceeded.push(`the Job of ${name} is deleted while it runs`);
}
