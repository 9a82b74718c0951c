// Flow runs that polls return and that could not be claimed: each poll brings them again, first of all, since they are the
// oldest. With few slots, those after them would never have a turn.
import type { FlowRun } from "../api/wire.ts";

/** Ids of flow runs whose last claim was declined. */
export class DeclinedRuns {
  readonly #ids = new Set<string>();

  /** Of what a poll has returned gives the declined ones last; those that it has not returned are forgotten. */
  sortLast(flowRuns: readonly FlowRun[]): FlowRun[] {
    const returned = new Set(flowRuns.map(({ id }) => id));
    for (const id of this.#ids) if (!returned.has(id)) this.#ids.delete(id);
    const isDeclined = ({ id }: FlowRun): boolean => this.#ids.has(id);
    return [...flowRuns.filter((flowRun) => !isDeclined(flowRun)), ...flowRuns.filter(isDeclined)];
  }

  /** Notes how a claim went; true when that is other than the last time. */
  note(flowRunId: string, isDeclined: boolean): boolean {
    const wasDeclined = this.#ids.has(flowRunId);
    if (isDeclined) this.#ids.add(flowRunId);
    else this.#ids.delete(flowRunId);
    return isDeclined !== wasDeclined;
  }
}
