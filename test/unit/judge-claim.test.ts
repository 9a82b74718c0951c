// Whose a flow run is after an accepted claim: one row per rule.
import { describe, expect, test } from "vitest";
import type { FlowRun, State, StateType } from "../../src/api/wire.ts";
import { isExclusive, isLateSubmitting, judgeClaim, judgeStart } from "../../src/run/judge-claim.ts";

const polledTime = "2026-11-25T17:00:00.000001Z";
const laterTime = "2026-11-25T17:00:09.500000Z";

/** A state of a history: its timestamp in seconds, its type, then transition id and scheduled time where it has them. */
function state(second: number, type: StateType, id: string | null = null, scheduled: string | null = null): State {
  return {
    type,
    name: type,
    message: null,
    timestamp: `2026-11-25T17:00:${String(second).padStart(2, "0")}.000000Z`,
    state_details: { transition_id: id, scheduled_time: scheduled },
  };
}

const polled = { next_scheduled_start_time: polledTime };

function flowRun(current: State, retryType: string | null = null): Pick<FlowRun, "state" | "empirical_policy"> {
  return { state: current, empirical_policy: { retry_type: retryType } };
}

describe("a claim is exclusive", () => {
  const cases: [rule: string, claimed: string | null, polled: string | null, isExclusive: boolean][] = [
    ["with the scheduled time that the poll returned", polledTime, polledTime, true],
    ["with the same time in another notation", "2026-11-25T17:00:00.5+00:00", "2026-11-25T17:00:00.500000Z", true],
    ["not with a time that differs by a microsecond", "2026-11-25T17:00:00.000002Z", polledTime, false],
    ["not without a scheduled time", null, polledTime, false],
    ["not where the poll returned no time", polledTime, null, false],
    ["not where neither has a time", null, null, false],
  ];
  test.each(cases)("%s", (_rule, claimed, polled, expected) => {
    const claim = state(2, "PENDING", "mine", claimed);
    expect(isExclusive(claim, { next_scheduled_start_time: polled })).toBe(expected);
  });
});

describe("a claim that is not proved to be exclusive", () => {
  const scheduled = state(0, "SCHEDULED", null, polledTime);
  const theirs = state(3, "PENDING", "theirs", polledTime);
  // Its timestamp is older than all that took effect before it.
  const late = state(2, "PENDING", "mine");
  const execution = [scheduled, late, theirs, state(4, "RUNNING")];
  const rows: [rule: string, claim: State, history: State[], kind: string, restored?: StateType][] = [
    ["gives Completed back", late, [...execution, state(5, "COMPLETED")], "had ended", "COMPLETED"],
    ["gives Failed back", late, [...execution, state(5, "FAILED")], "had ended", "FAILED"],
    ["gives Crashed back", late, [...execution, state(5, "CRASHED")], "had ended", "CRASHED"],
    [
      "gives back the newest of several ends",
      late,
      [...execution, state(5, "FAILED"), state(6, "SCHEDULED", null, laterTime), state(7, "COMPLETED")],
      "had ended",
      "COMPLETED",
    ],
    [
      "gives back what a third worker has given back before",
      late,
      [...execution, state(3, "PENDING", "third"), state(5, "COMPLETED"), state(6, "COMPLETED")],
      "had ended",
      "COMPLETED",
    ],
    ["is ours on a server that copies no times and has seen no other", late, [scheduled, late], "ours"],
    [
      "is ours on such a server when the last attempt was scheduled anew",
      state(9, "PENDING", "mine"),
      [scheduled, state(3, "PENDING", "theirs"), state(5, "FAILED"), state(8, "SCHEDULED")],
      "ours",
    ],
    [
      "gives the end back on such a server",
      late,
      [scheduled, late, state(3, "PENDING", "theirs"), state(5, "COMPLETED")],
      "had ended",
      "COMPLETED",
    ],
    [
      "is not ours beside another Pending without an end",
      late,
      [scheduled, late, state(3, "PENDING", "a")],
      "somebody else's",
    ],
    [
      "is ours when it replaced a later scheduled state",
      state(10, "PENDING", "mine", laterTime),
      [...execution, state(5, "FAILED"), state(8, "SCHEDULED", null, laterTime)],
      "ours",
    ],
    [
      "came too early when it replaced a state of a later time",
      state(9, "PENDING", "mine", laterTime),
      [...execution, state(5, "FAILED"), state(8, "SCHEDULED", null, laterTime)],
      "came too early",
      "SCHEDULED",
    ],
  ];
  test.each(rows)("%s", (_rule, claim, history, kind, restored) => {
    const verdict = judgeClaim(claim, { flowRun: flowRun(claim), history }, polled);
    expect(verdict.kind).toBe(kind);
    expect("restore" in verdict ? verdict.restore.type : undefined).toBe(restored);
  });

  test("is ours before its time if nobody knows which time the poll returned", () => {
    const claim = state(9, "PENDING", "mine", laterTime);
    const evidence = { flowRun: flowRun(claim), history: [state(8, "SCHEDULED", null, laterTime)] };
    expect(judgeClaim(claim, evidence, { next_scheduled_start_time: null }).kind).toBe("ours");
  });

  test("gives the newest end back, not an older one", () => {
    const [older, newer] = [state(5, "COMPLETED"), state(6, "COMPLETED")];
    expect(judgeClaim(late, { flowRun: flowRun(late), history: [...execution, newer, older] }, polled)).toEqual({
      kind: "had ended",
      restore: newer,
    });
  });

  test("is not ours when it replaced a retry that the server leaves to the last attempt", () => {
    const earlier = state(1, "SCHEDULED", null, "2026-11-25T17:00:01Z");
    const retry = state(6, "SCHEDULED", null, laterTime);
    const claim = state(20, "PENDING", "mine", laterTime);
    const history = [...execution, claim, retry, earlier];
    const verdict = judgeClaim(claim, { flowRun: flowRun(claim, "in_process"), history }, polled);
    expect(verdict).toEqual({ kind: "came too early", restore: retry, isRetry: true });
  });

  test("is not ours when the flow run was deleted", () => {
    expect(judgeClaim(late, { flowRun: undefined, history: [] }, polled).kind).toBe("somebody else's");
  });

  test("is not ours when somebody has gone further, but a cancellation is answered", () => {
    const history = [...execution, state(5, "COMPLETED")];
    expect(judgeClaim(late, { flowRun: flowRun(state(6, "CANCELLED")), history }, polled).kind).toBe("somebody else's");
    expect(judgeClaim(late, { flowRun: flowRun(state(6, "CANCELLING")), history }, polled).kind).toBe("ours");
  });
});

describe("Submitting with another scheduled time than the claim", () => {
  const claim = state(1, "PENDING", "mine", polledTime);
  const before = [state(0, "SCHEDULED", null, polledTime), claim];
  const scheduledAnew = state(2, "SCHEDULED", null, laterTime);
  const submitting = (time: string | null): State => state(4, "PENDING", "submitting", time);
  const rows: [rule: string, scheduled: string | null, since: State[], kind: string][] = [
    [
      "is somebody else's who has claimed the new time",
      laterTime,
      [scheduledAnew, state(3, "PENDING", "theirs", laterTime)],
      "somebody else's",
    ],
    ["is ours when it replaced the new scheduled state itself", laterTime, [scheduledAnew], "ours"],
    ["gives back an end that somebody has set since the claim", null, [state(3, "COMPLETED")], "had ended"],
    ["is ours on a server that does not carry the time on", null, [], "ours"],
  ];
  test.each(rows)("%s", (_rule, scheduled, since, kind) => {
    const own = submitting(scheduled);
    expect(judgeStart(claim, own, [...before, ...since, own]).kind).toBe(kind);
  });

  test("does not give back the end of an earlier attempt", () => {
    const own = submitting(null);
    const earlier = [state(0, "FAILED"), state(0, "SCHEDULED", null, polledTime)];
    expect(judgeStart(claim, own, [...earlier, claim, own]).kind).toBe("ours");
  });
});

describe("a Submitting of somebody else in place of the claim", () => {
  const earlier = state(1, "PENDING", "theirs", polledTime);
  const claim = state(3, "PENDING", "mine", laterTime);
  const history = [state(0, "SCHEDULED", null, polledTime), earlier, state(2, "SCHEDULED", null, laterTime), claim];
  const current = state(4, "PENDING", "their submitting", laterTime);

  test("belongs to an earlier claim and came late", () => {
    expect(isLateSubmitting(claim, current, [...history, current])).toBe(true);
  });

  test("belongs to a later claim if it has a later time", () => {
    const later = state(5, "PENDING", "their submitting", "2026-11-25T17:00:12.000000Z");
    expect(isLateSubmitting(claim, later, [...history, later])).toBe(false);
  });

  test("may belong to another claim of the same time", () => {
    const rival = state(3, "PENDING", "rival", laterTime);
    expect(isLateSubmitting(claim, current, [...history, rival, current])).toBe(false);
  });

  test("is not told apart on a server that does not carry the time on", () => {
    const timeless = [state(3, "PENDING", "mine"), state(4, "PENDING", "their submitting")] as const;
    expect(isLateSubmitting(...timeless, [...timeless])).toBe(false);
  });
});
