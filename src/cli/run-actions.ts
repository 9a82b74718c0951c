// What `lictor run` does: creates a flow run of a deployment, and follows it.
import type { Api } from "../api/api.ts";
import { createFlowRun, findDeploymentByName } from "../api/deployments.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import { levelNames, readLogPages } from "../api/logs.ts";
import type { Deployment, FlowRun, JsonObject, State } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { sleep } from "../async/sleep.ts";
import { clockTime } from "../logger.ts";
import { pythonRepr } from "../python-text.ts";
import { parseValue, splitName } from "./deployment-plan.ts";
import { openOperatorApi } from "./operator-api.ts";
import type { ProgramContext } from "./program-context.ts";
import { print } from "./terminal.ts";

export { withProgram } from "./program-context.ts";

/** The pause between two looks at the flow run. */
const lookMs = 1_000;
/** Engines and workers send their log records up to 2 s late, and the first ones of a run may come after later ones. */
const lateLogsMs = 10_000;
/** After the end of the flow run, its last log records are waited for until none has come for this time. */
const quietMs = 3_000;

/** The options of `lictor run`. */
export interface RunOptions {
  /** Texts `name=value`. */
  readonly param: readonly string[];
  readonly watch: boolean;
}

/** Creates a flow run. With `watch`, returns at its end, and sets the exit code to 1 unless it is Completed. Throws an Error. */
export async function run(program: ProgramContext, name: string, options: RunOptions): Promise<void> {
  using open = await openOperatorApi(program);
  const { api } = open;
  const wanted = splitName(name);
  const deployment = await findDeploymentByName(api, wanted);
  if (!deployment) throw new Error(`Deployment '${wanted.flow}/${wanted.name}' not found!`);
  const flowRun = await createFlowRun(api, deployment.id, toParameters(options.param, deployment));
  print(`Created flow run ${pythonRepr(flowRun.name)}.`, `└── UUID: ${flowRun.id}`);
  if (options.watch) await watch(api, flowRun);
}

function toParameters(given: readonly string[], { parameter_openapi_schema: schema }: Deployment): JsonObject {
  const entries = given.map((text) => {
    const [, name, value] = /^([^=]+)=([\s\S]*)$/.exec(text) ?? [];
    if (name === undefined || value === undefined) throw new Error(`'${text}' is no parameter. Write name=value.`);
    const properties = schema?.properties;
    // Source: prefect cli/deployment.py run.
    if (properties && !Object.hasOwn(properties, name))
      throw new Error(
        `The following parameters were specified but not found on the deployment: ${pythonRepr(name)}. It has: ${Object.keys(properties).join(", ") || "none"}.`,
      );
    const type = properties?.[name]?.type;
    return [name, parseValue(name, type, value)] as const;
  });
  return Object.fromEntries(entries);
}

const finalTypes = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"];

async function watch(api: Api, flowRun: FlowRun): Promise<void> {
  const news = new RunNews(api, flowRun);
  for (;;) {
    const current = await findFlowRun(api, flowRun.id);
    if (!current) throw new Error(`Flow run '${flowRun.name}' was deleted.`);
    const { state } = current;
    const isEnd = state !== null && finalTypes.includes(state.type);
    // The last state comes after the last log records, some of which arrive later.
    if (isEnd) news.leaveOut(state);
    await news.printNew();
    if (isEnd) {
      await news.printLast();
      print(describeState(flowRun, state));
      if (state.type !== "COMPLETED") process.exitCode = 1;
      return;
    }
    await sleep(lookMs, neverAborts);
  }
}

function describeState(flowRun: FlowRun, { name, message }: State): string {
  return `Flow run '${flowRun.name}' is ${name}${message ? `: ${message}` : "."}`;
}

/** Prints the states and the log records of a flow run that were not printed yet, in the order of their times. */
class RunNews {
  /** Ids of states and log records. */
  readonly #printed = new Set<string>();
  #newestLogMs: number;

  constructor(
    private readonly api: Api,
    private readonly flowRun: FlowRun,
  ) {
    this.#newestLogMs = Date.parse(flowRun.created ?? "") || 0;
  }

  /** This state is not printed. */
  leaveOut(state: State): void {
    this.#printed.add(this.#ofState(state).id);
  }

  /** Returns whether there were any. */
  async printNew(): Promise<boolean> {
    const states = await readFlowRunStates(this.api, this.flowRun.id);
    const all = [...states.map((state) => this.#ofState(state)), ...(await this.#readLogs())];
    const found = all.filter(({ id }) => !this.#printed.has(id)).sort((one, other) => one.atMs - other.atMs);
    for (const { id, line } of found) {
      this.#printed.add(id);
      print(line);
    }
    return found.length > 0;
  }

  /** Waits until no more log records come. */
  async printLast(): Promise<void> {
    for (let quietSince = monotonicMs(); monotonicMs() - quietSince < quietMs; ) {
      await sleep(lookMs, neverAborts);
      if (await this.printNew()) quietSince = monotonicMs();
    }
  }

  #ofState(state: State): News {
    const { id, timestamp = "" } = state;
    return { id: id ?? timestamp, atMs: Date.parse(timestamp) || 0, line: describeState(this.flowRun, state) };
  }

  async #readLogs(): Promise<News[]> {
    const after = new Date(this.#newestLogMs - lateLogsMs);
    const found: News[] = [];
    for await (const page of readLogPages(this.api, this.flowRun.id, { order: "TIMESTAMP_ASC", after })) {
      for (const { id, timestamp, level, message } of page) {
        const at = new Date(timestamp);
        const atMs = at.getTime() || 0;
        this.#newestLogMs = Math.max(this.#newestLogMs, atMs);
        const shown = (levelNames[level] ?? String(level)).padEnd(7);
        found.push({ id, atMs, line: `${clockTime(at)} | ${shown} | ${message}` });
      }
    }
    return found;
  }
}

/** A line that is printed once. */
interface News {
  readonly id: string;
  readonly atMs: number;
  readonly line: string;
}
