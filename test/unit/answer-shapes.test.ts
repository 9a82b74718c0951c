// Whatever an answer or an event is made of: it is refused, or all that lictor does with it works.

import { describe, expect, test } from "vitest";
import type { Check } from "../../src/api/json-check.ts";
import * as shapes from "../../src/api/shapes.ts";
import {
  type Deployment,
  type Flow,
  type FlowRun,
  type Json,
  type ScheduledFlowRun,
  stateTypes,
  type WorkPool,
} from "../../src/api/wire.ts";
import { bothClocks, monotonicMs } from "../../src/async/clock.ts";
import { toProcessJob } from "../../src/infrastructure/process/process-job.ts";
import { resolveJobFields } from "../../src/job/job-fields.ts";
import { RunHistory } from "../../src/run/run-history.ts";
import { isFinal } from "../../src/run/states.ts";
import { WorkerEvents } from "../../src/run/worker-events.ts";
import { parseFlowRunEvent } from "../../src/sockets/event-subscription.ts";
import { FlowRuns } from "../../src/worker/flow-runs.ts";
import * as good from "../support/api-answers.ts";
import { fuzzFrom } from "../support/fuzz.ts";

const ROUNDS = 10_000;
const TIMEOUT_MS = 60_000;

interface Execution {
  scheduled: ScheduledFlowRun[];
  deployment: Deployment;
  flow: Flow;
  workPool: WorkPool;
}

/** What becomes of a flow run's objects until its process starts, and of their names in events. */
async function execute({ scheduled, deployment, flow, workPool }: Execution): Promise<void> {
  for (const { flow_run: flowRun } of scheduled) {
    isFinal(flowRun.state);
    const events = new WorkerEvents({ name: "w", slug: "w", type: "process" }, (event) => JSON.stringify(event));
    const related = { flowRun, deployment, flow, workPool };
    const submitted = events.submitted(related);
    for (const each of submitted.related) {
      // Not expect(): a hundred thousand of them take a minute.
      if (!Object.values(each).every((value) => typeof value === "string")) throw new Error(JSON.stringify(each));
    }
    const runs = new FlowRuns(10_000, new RunHistory());
    runs.expected.announce(flowRun.id, 0);
    runs.expected.addLookedUp([flowRun.id], [flowRun], bothClocks());
    if (!(runs.expected.nextDueInMs(monotonicMs()) >= 0)) throw new Error("due at no time");
    const facts = { ...related, workerName: "w", workerId: null, exportedSettings: {}, environment: {} };
    const job = resolveJobFields(facts, {
      readBlockDocument: () => Promise.resolve({}),
      readBlockDocumentById: () => Promise.resolve({}),
      findVariable: () => Promise.resolve(undefined),
    }).then((fields) => toProcessJob(fields, facts));
    await job.catch((error: Error) => {
      if (!/^(JobConfigurationError|TemplateError|CommandError)$/.test(error.name)) throw error;
    });
  }
}

describe("10,000 mutated and random answers are refused or used", () => {
  const whole: Execution = {
    scheduled: good.goodPoll as ScheduledFlowRun[],
    deployment: good.goodDeployment as unknown as Deployment,
    flow: good.goodFlow as Flow,
    workPool: good.goodWorkPool as unknown as WorkPool,
  };
  test.each<[string, Check, Json, (value: Json) => unknown]>([
    [
      "polls",
      shapes.scheduledFlowRunsShape,
      good.goodPoll as unknown as Json,
      (scheduled) => execute({ ...whole, scheduled: scheduled as unknown as ScheduledFlowRun[] }),
    ],
    [
      "deployments",
      shapes.deploymentShape,
      good.goodDeployment,
      (deployment) => execute({ ...whole, deployment: deployment as unknown as Deployment }),
    ],
    ["flows", shapes.flowShape, good.goodFlow, (flow) => execute({ ...whole, flow: flow as unknown as Flow })],
    [
      "work pools",
      shapes.workPoolShape,
      good.goodWorkPool,
      (workPool) => execute({ ...whole, workPool: workPool as unknown as WorkPool }),
    ],
    ["flow runs", shapes.flowRunShape, good.goodFlowRun, (run) => isFinal((run as unknown as FlowRun).state ?? null)],
    [
      "decisions",
      shapes.orchestrationShape,
      good.goodDecision,
      (decision) => expect(decision).toHaveProperty("status"),
    ],
  ])(
    "%s",
    async (_kind, shape, example, use) => {
      const fuzz = fuzzFrom(20261123, 0.06);
      let taken = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const answer = round % 10 === 0 ? fuzz.value() : fuzz.mutate(example);
        if (!shape(answer)) continue;
        taken++;
        await use(answer);
      }
      expect(shape(example)).toBe(true);
      expect(taken).toBeGreaterThan(100);
      expect(taken).toBeLessThan(ROUNDS * 0.9);
    },
    TIMEOUT_MS,
  );

  test(
    "events",
    () => {
      const fuzz = fuzzFrom(20261123, 0.06);
      let taken = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const event = parseFlowRunEvent(round % 10 === 0 ? fuzz.value() : fuzz.mutate(good.goodEvent));
        if (!event) continue;
        taken++;
        expect([typeof event.id, typeof event.flowRunId]).toEqual(["string", "string"]);
        expect(stateTypes).toContain(event.stateType);
        expect(["string", "undefined"]).toContain(typeof event.workQueueName);
        expect(Number.isNaN(Date.parse(event.occurred))).toBe(false);
      }
      expect(taken).toBeGreaterThan(100);
      expect(taken).toBeLessThan(ROUNDS * 0.9);
    },
    TIMEOUT_MS,
  );
});
