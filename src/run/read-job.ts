// Reads a flow run's deployment and flow, and makes its job.
import { findDeployment, readFlow } from "../api/deployments.ts";
import { valuesOfFlowRun } from "../api/exact-places.ts";
import { findFlowRun } from "../api/flow-runs.ts";
import * as references from "../api/references.ts";
import type { RetriedRefusals } from "../api/refused-reports.ts";
import { findWorkPool, withTemplate } from "../api/work-pools.ts";
import type { Job } from "../infrastructure/pool-type.ts";
import { type RunFacts, resolveJobFields } from "../job/job-fields.ts";
import type { ReportRules } from "../program/program.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import type { Reader } from "./shared-reads.ts";

/**
 * An outage must not lose a claimed flow run, so requests have no end. Before the claim, the second signal ends them. After
 * it, a stop of the flow run ends them; the abort reason is then the StopReason.
 */
function readerOf({ services }: RunContext, { phase, stop, takenAt }: RunRecord): Reader {
  return { knownSince: takenAt, signal: phase === "claiming" ? services.stop.kill : stop.signal };
}

/**
 * Reads deployment and flow into the record. Returns false when the deployment was deleted. After the claim, refused
 * credentials do not end the reads, as with reports: the key may be renewed, and another worker cannot claim the flow run.
 * A missing permission does end them. Throws ApiError.
 */
export async function readRelated(
  context: RunContext,
  run: RunRecord,
  reader: Reader = readerOf(context, run),
): Promise<boolean> {
  const { api } = context;
  const { deployment_id: id, flow_id } = run.flowRun;
  const retriesRefusals: RetriedRefusals = run.phase === "claiming" ? false : "unless forbidden";
  const sharer = { ...reader, repeats: retriesRefusals };
  const { reads } = context.services;
  const [deployment, flow] = await Promise.all([
    id === null
      ? undefined
      : reads.read(`deployment ${id}`, sharer, (signal) =>
          findDeployment(api, id, { endless: true, retriesRefusals, signal }),
        ),
    reads.read(`flow ${flow_id}`, sharer, (signal) =>
      readFlow(api, flow_id, { endless: true, retriesRefusals, signal }),
    ),
  ]);
  run.deployment = deployment ?? null;
  run.flow = flow;
  return id === null || deployment !== undefined;
}

/** Reads deployment and flow and returns the job, before the claim. Throws what `makeJob` throws. */
export async function readJob(
  context: RunContext,
  run: RunRecord,
  reader: Reader = readerOf(context, run),
): Promise<Job> {
  await readRelated(context, run, reader);
  return await makeJob(context, run, reader);
}

/**
 * Returns the job of a flow run that is gone, from what the server says now: the journal keeps no variables. Throws what
 * `makeJob` throws, and an error if the flow run or its work pool was deleted.
 */
export async function readJobOfLost(
  context: RunContext,
  run: RunRecord,
  signal: AbortSignal = context.services.stop.kill,
): Promise<Job> {
  const { api } = context;
  const options = { endless: true, signal };
  const [flowRun, found] = await Promise.all([
    findFlowRun(api, run.flowRun.id, { ...options, exact: valuesOfFlowRun }),
    findWorkPool(api, run.workPool.name, options),
  ]);
  if (!flowRun || !found) throw new Error(`The ${flowRun ? "work pool" : "flow run"} was deleted.`);
  const workPool = withTemplate(found, context.defaultTemplate);
  // A flow run that was cancelled is read too.
  const reader = { knownSince: run.takenAt, signal };
  return await readJob(context, { ...run, flowRun, workPool, phase: "claiming" }, reader);
}

/**
 * Returns how the states of a flow run's program are reported; null if an engine reports them. Only its job says so. Without
 * its job, nobody knows, and then an engine is assumed. `signal` ends the reads.
 */
export async function readRules(context: RunContext, run: RunRecord, signal: AbortSignal): Promise<ReportRules | null> {
  try {
    const { program } = await readJobOfLost(context, run, signal);
    return program.reporter === "worker" ? program.rules : null;
  } catch (error) {
    run.log.debug({ err: error }, "The job of a flow run could not be read");
    return null;
  }
}

/** Returns the job of a flow run. Throws JobConfigurationError, TemplateError, CommandError and ApiError. */
export async function makeJob(
  context: RunContext,
  run: RunRecord,
  reader: Reader = readerOf(context, run),
): Promise<Job> {
  const { api, identity, services, infrastructure } = context;
  const facts: RunFacts = {
    workPool: run.workPool,
    flowRun: run.flowRun,
    flow: run.flow,
    deployment: run.deployment,
    workerName: identity.name,
    workerId: identity.id(),
    exportedSettings: services.exportedSettings(),
    environment: services.environment,
  };
  // Refusals end these reads. The worker may lack the permission for one block or variable for ever, and only the message of
  // a crash tells the owner of the flow.
  const { reads } = services;
  const fields = await resolveJobFields(facts, {
    readBlockDocument: (typeSlug, name) =>
      reads.read(`block ${typeSlug}/${name}`, reader, (signal) =>
        references.readBlockDocument(api, typeSlug, name, { endless: true, signal }),
      ),
    readBlockDocumentById: (id) =>
      reads.read(`block ${id}`, reader, (signal) =>
        references.readBlockDocumentById(api, id, { endless: true, signal }),
      ),
    findVariable: (name) =>
      reads.read(`variable ${name}`, reader, (signal) => references.findVariable(api, name, { endless: true, signal })),
  });
  return infrastructure.toJob(fields, facts);
}
