// Continues the programs of dead workers that the infrastructure itself remembers, such as containers. No journal is needed,
// so this also works for workers whose disk is gone.
import { filterFlowRuns } from "../api/flow-runs.ts";
import { readBlockDocument, readBlockDocumentById } from "../api/references.ts";
import type { FlowRun, JsonObject, WorkPool } from "../api/wire.ts";
import { filterOnlineWorkers } from "../api/work-pools.ts";
import type { StartedProgram } from "../infrastructure/pool-type.ts";
import { defaultJobFields } from "../job/job-fields.ts";
import { resolveBlocks, TemplateError } from "../job/template.ts";
import { JobConfigurationError } from "../job/typed-fields.ts";
import { findHolder } from "../run/claim-holder.ts";
import { readClaimants } from "../run/claimant.ts";
import { isScheduledAgain } from "../run/last-reports.ts";
import { resume } from "../run/live.ts";
import { createRunRecord, parseTime } from "../run/run-record.ts";
import type { Worker } from "./worker.ts";

/** The most flow runs that a server returns per request. */
const idsPerCall = 200;
/** More than run at a time. One that is forgotten and found again is looked up again. */
const maxSettled = 10_000;

/** The programs of one work pool that other workers started. */
export class StartedPrograms {
  /** The programs that other workers started and whose flow run may need something, by their identifier. */
  readonly #open = new Map<string, StartedProgram>();
  /** The identifiers of programs whose flow run needs nothing any more, at most `maxSettled`. So each is looked up once. */
  readonly #settled = new Set<string>();

  #fields: { readonly template: JsonObject; readonly resolved: JsonObject } | null = null;

  constructor(private readonly worker: Worker) {}

  /**
   * Continues the programs whose worker is gone. Returns false if the infrastructure or the API cannot be reached now. Never
   * throws.
   */
  async adopt(signal: AbortSignal): Promise<boolean> {
    const { pool, log } = this.worker;
    if (!pool.current) return true;
    try {
      await this.#adopt(pool.current, signal);
      return true;
    } catch (error) {
      if (!signal.aborted) log.debug({ err: error }, "The programs of other workers could not be looked at");
      return false;
    }
  }

  async #adopt(workPool: WorkPool, signal: AbortSignal): Promise<void> {
    const { infrastructure, runs } = this.worker;
    this.#note(await infrastructure.findStarted(workPool.id, await this.#fieldsOf(workPool, signal)));
    const others = [...this.#open.values()].filter(({ flowRunId }) => !runs.has(flowRunId));
    if (others.length === 0) return;
    const claimed = await this.#readClaimed(others, signal);
    for (const program of others) if (!claimed.has(program.flowRunId)) this.#leave(program);
    const candidates = others.filter(({ flowRunId }) => claimed.has(flowRunId));
    if (candidates.length === 0) return;
    const isAttended = await this.#attendance(signal);
    for (const program of candidates) {
      const flowRun = claimed.get(program.flowRunId) as FlowRun;
      if (isAttended(program, flowRun) || runs.has(flowRun.id)) continue;
      const isCurrent = await this.#isCurrent(program, signal);
      // Two looks at a time may find the same program, and the server may take long.
      if (runs.has(flowRun.id)) continue;
      if (isCurrent) this.#continue(program, flowRun, workPool);
      else this.#leave(program);
    }
  }

  /**
   * Returns the fields of a job without job variables, for infrastructure that is not local. Blocks may say where it is, and are
   * read once per template. A template that is not valid is reported by the first flow run.
   */
  async #fieldsOf({ base_job_template: template, ...pool }: WorkPool, signal: AbortSignal): Promise<JsonObject> {
    const { api, poolType, services } = this.worker;
    if (poolType.isLocal) return {};
    if (this.#fields?.template === template) return this.#fields.resolved;
    const limited = { signal };
    try {
      const fields = defaultJobFields({ ...pool, base_job_template: template }, services.environment);
      const resolved = await resolveBlocks(fields, {
        readBlockDocument: (typeSlug, name) => readBlockDocument(api, typeSlug, name, limited),
        readBlockDocumentById: (id) => readBlockDocumentById(api, id, limited),
        findVariable: async () => undefined,
      });
      this.#fields = { template, resolved };
      return resolved;
    } catch (error) {
      if (error instanceof JobConfigurationError || error instanceof TemplateError) return {};
      throw error;
    }
  }

  /** Adds programs of other workers to the open ones. */
  #note(found: readonly StartedProgram[]): void {
    const own = this.worker.services.instance.instance;
    for (const program of found) {
      const { identifier } = program.handle;
      if ((own === null || program.instance !== own) && !this.#settled.has(identifier))
        this.#open.set(identifier, program);
    }
  }

  /** Leaves a program alone for good. One that has not begun must not begin any more. */
  #leave(program: StartedProgram): void {
    this.#settle(program);
    const { infrastructure, log } = this.worker;
    if (program.mayHaveBegun) return;
    infrastructure.discard?.(program).catch((error: unknown) => {
      // It is found again at the next look.
      this.#settled.delete(program.handle.identifier);
      log.debug({ err: error }, `What waits for flow run ${program.flowRunId} could not be removed`);
    });
  }

  #settle({ handle: { identifier } }: StartedProgram): void {
    this.#open.delete(identifier);
    this.#settled.add(identifier);
    const [oldest = ""] = this.#settled;
    if (this.#settled.size > maxSettled) this.#settled.delete(oldest);
  }

  /** Returns the flow runs of the programs that are claimed and have not ended. Some wait for a retry, which no poll returns. */
  async #readClaimed(programs: readonly StartedProgram[], signal: AbortSignal): Promise<Map<string, FlowRun>> {
    const ids = [...new Set(programs.map(({ flowRunId }) => flowRunId))];
    const state = { type: { any_: ["PENDING", "RUNNING", "CANCELLING", "SCHEDULED"] } };
    const claimed = new Map<string, FlowRun>();
    for (let start = 0; start < ids.length; start += idsPerCall) {
      const filter = { id: { any_: ids.slice(start, start + idsPerCall) }, state };
      for (const flowRun of await filterFlowRuns(this.worker.api, filter, { signal }))
        if (!isScheduledAgain(flowRun)) claimed.set(flowRun.id, flowRun);
    }
    return claimed;
  }

  /** Returns whether a worker lives that has the program. The flow run names the one that claimed it, and its labels the one that adopted it last. */
  async #attendance(signal: AbortSignal): Promise<(program: StartedProgram, flowRun: FlowRun) => boolean> {
    const { api, identity, options, services } = this.worker;
    const living = await services.livingInstances();
    const online = await filterOnlineWorkers(api, options.workPoolName, { signal });
    const names = new Set(online.map(({ name }) => name));
    return (program, flowRun) => {
      const claimants = readClaimants(flowRun);
      return (claimants.length > 0 ? claimants : [program]).some(
        ({ instance, workerName }) =>
          (living.includes(instance) && instance !== services.instance.instance) ||
          (workerName !== identity.name && names.has(workerName)),
      );
    };
  }

  /** Returns whether the program belongs to the newest claim. A flow run that runs again has another one. */
  async #isCurrent({ flowRunId, proposals }: StartedProgram, signal: AbortSignal): Promise<boolean> {
    const run = { flowRun: { id: flowRunId }, proposals: [...proposals] };
    return (await findHolder(this.worker.api, run, { signal })) !== "somebody else";
  }

  #continue(program: StartedProgram, flowRun: FlowRun, workPool: WorkPool): void {
    const { handle, workerName, proposals, rules } = program;
    const { worker } = this;
    const { runs, services } = worker;
    const log = services.named("prefect.flow_runs.worker").child({ flow_run_id: flowRun.id });
    log.info(`Taking over flow run '${flowRun.name}' of worker '${workerName}', which is gone`);
    const slot = services.slots.acquireBeyondLimit();
    const run = createRunRecord({ flowRun, workPool, slot, log });
    run.proposals.push(...proposals);
    const claimed = parseTime(flowRun.state?.timestamp ?? null) ?? run.times.due ?? 0;
    const record = { ...run, handle, rules, phase: "running" as const, times: { ...run.times, claimed } };
    runs.take(
      record,
      (taken) => resume(worker, taken),
      () => {
        // A program that reports nothing and succeeds leaves its flow run claimed.
        this.#settle(program);
        services.slotFreed();
      },
    );
  }
}
