// Flow runs that a poll has found although events come and none has told of them: how often events are lost.

/** Counts such flow runs, each once. */
export class UnannouncedRuns {
  count = 0;
  #last: ReadonlySet<string> = new Set();

  /** Returns those of `flowRunIds`, which a poll has found without an event, that the poll before has not found yet. */
  take(flowRunIds: readonly string[]): string[] {
    const newer = flowRunIds.filter((id) => !this.#last.has(id));
    this.#last = new Set(flowRunIds);
    this.count += newer.length;
    return newer;
  }
}
