// A cluster of the simulation: its API server, controllers and nodes, what happens to it, and what may be left in it.
import type { JobObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { readFacts } from "../../src/infrastructure/kubernetes/job-labels.ts";
import type { PoolType } from "../../src/infrastructure/pool-type.ts";
import { pick } from "../support/random.ts";
import { ApiServer } from "./api-server.ts";
import { ApiServerConnections } from "./api-server-connections.ts";
import type { ContainerEngineParts } from "./container-engine.ts";
import type { ConnectionParts } from "./engine-connections.ts";
import { isFinished, JobController } from "./job-controller.ts";
import { kubernetesPoolOn } from "./kubernetes-pool.ts";
import { flowRunOf, isFinal, Nodes } from "./nodes.ts";
import type { ServerModel } from "./server-model.ts";
import type { Owner } from "./virtual-clock.ts";

/** What a cluster needs of the world. */
export interface ClusterParts extends ContainerEngineParts, ConnectionParts {
  readonly world: Owner;
  /** Called when a lictor process begins to create a Job. */
  onStart(owner: Owner, flowRunId: string): void;
  /** Called when a lictor process deletes a Job of which a program runs. */
  onEnding(flowRunId: string): void;
}

/** What may happen once in a seed, and in which share of the seeds. */
export const clusterIncidents: readonly (readonly [share: number, begin: (cluster: SimulatedCluster) => void])[] = [
  [0.3, (cluster) => cluster.restartApi()],
  [0.2, (cluster) => cluster.drain()],
  [0.2, (cluster) => cluster.evict()],
  [0.2, (cluster) => cluster.cutOffNode({ isDead: false })],
  [0.2, (cluster) => cluster.cutOffNode({ isDead: true })],
  [0.1, (cluster) => cluster.deleteJob()],
  [0.1, (cluster) => cluster.deletePod()],
];

/** A cluster that all machines share. */
export class SimulatedCluster {
  readonly api: ApiServer;
  readonly connections: ApiServerConnections;
  readonly nodes: Nodes;
  readonly #controller: JobController;

  constructor(private readonly parts: ClusterParts) {
    this.api = new ApiServer(parts.clock);
    this.api.tellsUid = parts.random() < 0.5;
    this.connections = new ApiServerConnections(this.api, parts);
    this.nodes = new Nodes(this.api, parts);
    this.#controller = new JobController(this.api, this.nodes, parts);
    this.connections.programIn = (pod) => this.nodes.programIn(pod);
    const begun = new Set<string>();
    this.connections.onRequest = (owner, { method, body }) => {
      const { name = "" } = (body.metadata ?? {}) as { name?: string };
      // A repetition begins nothing. Flow runs that were adopted meanwhile count too.
      if (method !== "POST" || begun.has(name)) return;
      begun.add(name);
      parts.onStart(owner, factsOf(body as unknown as JobObject)?.flowRunId ?? "");
    };
    this.api.reactions = {
      ...this.#controller.reactions,
      deleteJob: (job, policy) => {
        const { flowRunId = "" } = factsOf(job) ?? {};
        // A program may run for too long.
        const isTimed = parts.planOf(flowRunId)?.timeoutSeconds != null;
        const isRunning = this.nodes.living().some((process) => process.flowRunId === flowRunId);
        if (isRunning && !isTimed) parts.onEnding(flowRunId);
        this.#controller.deleteJob(job, policy);
      },
    };
  }

  /** Returns the pool type for one lictor process. */
  poolType(owner: Owner): PoolType {
    return kubernetesPoolOn(this.connections.transportOf(owner));
  }

  /** The claims that the Jobs of a flow run name. */
  claimsOf(flowRunId: string): string[] {
    const facts = [...this.api.jobs.values()].map((job) => factsOf(job));
    return facts.flatMap((fact) => (fact?.flowRunId === flowRunId ? fact.attempt : []));
  }

  /** Ends what goes on: everything can be reached. */
  heal(): void {
    this.api.isDown = false;
    for (const node of this.nodes.all) node.isCutOff = false;
  }

  /** The API server is down for a while, and may have forgotten older versions then. */
  restartApi(): void {
    const { random, clock, world, trace } = this.parts;
    trace(() => "the API server is down");
    this.api.isDown = true;
    this.connections.breakAll();
    clock.after(random() * 30_000, world, () => {
      trace(() => "the API server is up");
      this.api.isDown = false;
      if (random() < 0.5) this.api.forget();
    });
  }

  /** An administrator drains a node. */
  drain(): void {
    const node = pick(this.parts.random, this.nodes.all);
    this.parts.trace(() => `${node.name} is drained`);
    this.nodes.act(0, () => {
      for (const pod of [...this.api.pods.values()])
        if (pod.spec?.nodeName === node.name) this.#controller.evictPod(pod, "EvictionByEvictionAPI");
    });
  }

  /** A node lacks memory, so its kubelet ends a pod. */
  evict(): void {
    const pod = pick(this.parts.random, [...this.api.pods.values()]);
    if (pod) this.nodes.act(0, () => this.nodes.evict(pod));
  }

  /** A node cannot be reached. If it is dead, its programs have ended. After a while, its pods are told to end, or removed. */
  cutOffNode({ isDead }: { isDead: boolean }): void {
    const { random, clock, world, trace } = this.parts;
    const node = pick(random, this.nodes.all);
    trace(() => `${node.name} is ${isDead ? "dead" : "cut off"}`);
    node.isCutOff = true;
    if (isDead) this.nodes.killAll(node, "node lost");
    const podsOfNode = () => [...this.api.pods.values()].filter(({ spec }) => spec?.nodeName === node.name);
    const untilTaintMs = random() * 30_000;
    const isBack = { after: random() * 60_000 };
    clock.after(untilTaintMs, world, () => {
      if (!node.isCutOff) return;
      this.nodes.act(0, () => {
        for (const pod of podsOfNode()) this.#controller.evictPod(pod, "DeletionByTaintManager");
      });
    });
    clock.after(isBack.after, world, () => {
      if (!node.isCutOff) return;
      if (isDead && random() < 0.5) {
        this.nodes.act(0, () => {
          for (const pod of podsOfNode()) if (!isFinal(pod)) this.#controller.forcePod(pod);
        });
      }
      trace(() => `${node.name} is back`);
      node.isCutOff = false;
    });
  }

  /** A user deletes a Job. */
  deleteJob(): void {
    const { random, trace, truthOf } = this.parts;
    const job = pick(random, [...this.api.jobs.values()]);
    if (!job) return;
    this.nodes.act(0, () => {
      const current = this.api.jobs.get(job.metadata.name);
      if (!current) return;
      trace(() => `a user deletes Job ${job.metadata.name}`);
      const id = factsOf(current)?.flowRunId ?? "";
      if (!isFinished(current) || this.#isUnseen(id)) truthOf(id).losses.push("a user deleted its Job");
      this.#controller.deleteJob(current, pick(random, ["Background", "Foreground"]));
    });
  }

  /** A user deletes a pod. */
  deletePod(): void {
    const { random, trace, truthOf } = this.parts;
    const pod = pick(random, [...this.api.pods.values()]);
    if (!pod) return;
    this.nodes.act(0, () => {
      const current = this.api.pods.get(pod.metadata.name);
      if (!current) return;
      trace(() => `a user deletes pod ${pod.metadata.name}`);
      const why = "a user deleted its pod";
      if (isFinal(current) && this.#isUnseen(flowRunOf(current))) truthOf(flowRunOf(current)).losses.push(why);
      this.#controller.deletePod(current, why);
    });
  }

  /** Whether no worker has reported the end of a program. Only its Job and its pod have the exit code. */
  #isUnseen(flowRunId: string): boolean {
    const { network, planOf } = this.parts;
    return planOf(flowRunId).isProgram && !network.hasEnded(flowRunId);
  }
}

/**
 * Returns the Jobs that have not ended, and those whose time to live is over. The work pool of a Job that was created late may
 * be gone, and then nobody looks for it.
 */
export function findLeftJobs({ server }: { readonly server: ServerModel }, { api, nodes }: SimulatedCluster): string[] {
  const isWanted = (job: JobObject): boolean => {
    const hadPod = job.status?.startTime !== undefined;
    return hadPod || (server.runs.get(factsOf(job)?.flowRunId ?? "")?.work_queue_id ?? null) !== null;
  };
  const hasTtl = ({ spec }: JobObject): boolean =>
    typeof (spec as { ttlSecondsAfterFinished?: number | null }).ttlSecondsAfterFinished === "number";
  return [
    ...[...api.jobs.values()]
      .filter((job) => (isFinished(job) ? hasTtl(job) : isWanted(job)))
      .map(({ metadata: { name } }) => `Job ${name} is left`),
    ...nodes.living().map(({ owner, flowRunId }) => `${owner.name} of ${flowRunId} still runs in a pod`),
  ];
}

function factsOf({ metadata }: JobObject): ReturnType<typeof readFacts> {
  return readFacts(metadata.annotations);
}
