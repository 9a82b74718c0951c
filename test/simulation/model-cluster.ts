// The model of a cluster by itself, where a test plays the kubelet. Time passes while the test waits for something.
import type { JsonObject } from "../../src/api/wire.ts";
import type { PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { randomFrom } from "../support/random.ts";
import { ApiServer } from "./api-server.ts";
import type { ContainerEngineParts } from "./container-engine.ts";
import type { FlowPlan, Truth } from "./engine.ts";
import { Faults } from "./faults.ts";
import { JobController } from "./job-controller.ts";
import { Nodes } from "./nodes.ts";
import { createOwner, VirtualClock } from "./virtual-clock.ts";

/** The time limit for what controllers do. */
const longestMs = 60_000;
const stepMs = 10;

/** API server and controllers. */
export class ModelCluster implements Disposable {
  readonly api: ApiServer;
  readonly #nodes: Nodes;
  readonly #controller: JobController;
  readonly #clock: VirtualClock;

  constructor() {
    const world = createOwner("world");
    const random = randomFrom(1);
    this.#clock = new VirtualClock(world);
    const faults = new Faults(random, () => undefined, { hasContainers: false, hasCluster: true });
    faults.active = false;
    const truth: Truth = { executions: 0, reported: null, ranMs: 0, losses: [], reschedules: 0, hooks: new Set() };
    let lastPid = 10_000;
    const parts = {
      ...{ clock: this.#clock, random, world, faults, trace: () => undefined },
      planOf: (): FlowPlan => ({ durationMs: 0, failures: 0, isProgram: false, timeoutSeconds: null }),
      truthOf: () => truth,
      nextPid: () => ++lastPid,
    };
    this.api = new ApiServer(this.#clock);
    // No program is started, so no network is needed.
    this.#nodes = new Nodes(this.api, parts as unknown as ContainerEngineParts);
    for (const node of this.#nodes.all) node.isCutOff = true;
    this.#controller = new JobController(this.api, this.#nodes, parts as unknown as ContainerEngineParts);
    this.api.reactions = this.#controller.reactions;
  }

  /** Executes a request. The path begins after the namespace. */
  async send(method: string, path: string, body: JsonObject = {}): Promise<{ status: number; body: JsonObject }> {
    const [where = "", query = ""] = path.split("?");
    const call = { method, path: `/namespaces/default/${where}`, query: new URLSearchParams(query), body };
    const answer = this.api.handle(call);
    if (answer.status < 300) return { status: 200, body: answer.body as JsonObject };
    const { reason } = answer.body as { reason: string };
    return { status: answer.status, body: { reason } };
  }

  async bind(pod: PodObject): Promise<void> {
    const { name } = pod.metadata;
    const current = this.api.pods.get(name) as PodObject;
    this.#nodes.setStatus({ ...current, spec: { ...current.spec, nodeName: "node-1" } }, {});
  }

  async setStatus({ metadata: { name } }: PodObject, status: JsonObject): Promise<void> {
    this.#nodes.setStatus(this.api.pods.get(name) as PodObject, status);
  }

  async deletePod({ metadata: { name } }: PodObject, graceSeconds?: number): Promise<void> {
    const pod = this.api.pods.get(name) as PodObject;
    if (graceSeconds === 0) this.#nodes.release(pod.metadata.uid, name);
    else this.#controller.deletePod(pod, "deleted");
  }

  async until(what: string, is: () => Promise<boolean>): Promise<void> {
    const end = this.#clock.now + longestMs;
    while (!(await is())) {
      if (this.#clock.now >= end) throw new Error(`${what} did not happen`);
      const next = this.#clock.now + stepMs;
      // Without an event, the clock would stand still.
      this.#clock.after(stepMs, this.#clock.current, () => undefined);
      await this.#clock.run(next, () => false);
    }
  }

  async forget(): Promise<void> {
    this.api.forget();
  }

  [Symbol.dispose](): void {}
}
