// The nodes of a cluster in the simulation: a scheduler puts pods on them, and their kubelets run the programs and report how
// these are. Source: Kubernetes 1.34.4, pkg/kubelet; Pod lifecycle.
import type {
  ContainerState,
  ContainerStatus,
  PodObject,
} from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { pick } from "../support/random.ts";
import type { ApiServer, StoredMeta } from "./api-server.ts";
import type { ContainerEngineParts } from "./container-engine.ts";
import { type RunProcess, startProcess } from "./run-process.ts";

/** A node. */
export interface Node {
  readonly name: string;
  /** While it cannot reach the API server, its programs go on. */
  isCutOff: boolean;
}

/** What a pod runs. */
interface Running {
  readonly flowRunId: string;
  readonly node: Node;
  /** Null before the start. */
  process: RunProcess | null;
  isTerminating: boolean;
}

type PodStatus = NonNullable<PodObject["status"]>;

/** How often something is tried again that cannot be done now. */
const retryMs = 500;

/** All nodes of a cluster. */
export class Nodes {
  readonly all: readonly Node[] = [1, 2].map((number) => ({ name: `node-${number}`, isCutOff: false }));
  /** By the uid of the pod. */
  readonly #running = new Map<string, Running>();
  /** Called after the status of a pod has changed. */
  onChanged: (pod: PodObject) => void = () => undefined;

  constructor(
    private readonly api: ApiServer,
    private readonly parts: ContainerEngineParts,
  ) {}

  /** Acts in the API server after a while, and not before it can be reached. */
  act(ms: number, action: () => void): void {
    const { clock, world } = this.parts;
    const attempt = (): void => {
      if (this.api.isDown) clock.after(retryMs, world, attempt);
      else action();
    };
    clock.after(ms, world, attempt);
  }

  /** Puts a new pod on a node, which starts it. */
  schedule({ metadata: { name, uid } }: PodObject): void {
    const { random } = this.parts;
    this.act(random() * 500, () => {
      const pod = this.#podOf(uid, name);
      if (!pod || pod.metadata.deletionTimestamp) return;
      const free = this.all.filter(({ isCutOff }) => !isCutOff);
      const conditions = pod.status?.conditions ?? [];
      if (free.length === 0) {
        const message = "0/2 nodes are available.";
        const unschedulable = { type: "PodScheduled", status: "False", reason: "Unschedulable", message } as const;
        const isSaid = conditions.some(({ reason }) => reason === "Unschedulable");
        if (!isSaid) this.setStatus(pod, { conditions: [unschedulable] });
        this.schedule(pod);
        return;
      }
      const node = pick(random, free);
      this.#running.set(uid, { flowRunId: flowRunOf(pod), node, process: null, isTerminating: false });
      const scheduled = { type: "PodScheduled", status: "True" } as const;
      const bound = { ...pod, spec: { ...pod.spec, nodeName: node.name } };
      this.setStatus(bound, { conditions: [scheduled] });
      this.#prepare(bound);
    });
  }

  /** Ends the program of a pod, gently first, because the pod was told to end. */
  terminate({ metadata: { name, uid, deletionGracePeriodSeconds = 30 } }: PodObject, why: string): void {
    const running = this.#running.get(uid);
    if (!running || running.isTerminating) return;
    running.isTerminating = true;
    this.#onNode(running, this.parts.random() * 200, () => {
      const { process } = running;
      // A container that was never made gets an end, too.
      if (!process) {
        this.#finish(uid, name, { exitCode: 137, reason: "ContainerStatusUnknown" });
        return;
      }
      process.signal("SIGTERM", why);
      this.#onNode(running, deletionGracePeriodSeconds * 1_000, () => process.signal("SIGKILL", why));
    });
  }

  /** A kubelet drives a pod out because its node lacks memory or disk space. */
  evict(pod: PodObject): void {
    const {
      metadata: { name, uid },
    } = pod;
    const running = this.#running.get(uid);
    if (!running?.process?.isAlive) return;
    running.process.signal("SIGKILL", "evicted by the kubelet");
    const condition = { type: "DisruptionTarget", status: "True", reason: "TerminationByKubelet" } as const;
    this.#onNode(running, 10, () => {
      const current = this.#podOf(uid, name);
      if (!current || isFinal(current)) return;
      const conditions = [...(current.status?.conditions ?? []), condition];
      const message = "The node was low on resource: memory.";
      this.setStatus(current, { phase: "Failed", reason: "Evicted", message, conditions });
    });
  }

  /** Kills all programs of a node, as the loss of its power does. */
  killAll(node: Node, why: string): void {
    for (const running of this.#running.values()) if (running.node === node) running.process?.signal("SIGKILL", why);
  }

  /** The processes that run. */
  living(): RunProcess[] {
    return [...this.#running.values()].flatMap(({ process }) => (process?.isAlive ? [process] : []));
  }

  /** Returns the program of a pod if it runs. */
  programIn(pod: string): RunProcess | null {
    const { process } = this.#running.get(this.api.pods.get(pod)?.metadata.uid ?? "") ?? {};
    return process?.isAlive ? process : null;
  }

  /** Changes the status of a pod. */
  setStatus(pod: PodObject, status: PodStatus): void {
    const changed = this.api.put("pods", { ...pod, status: { ...pod.status, ...status } });
    this.onChanged(changed);
  }

  #podOf(uid: string, name: string): PodObject | undefined {
    const pod = this.api.pods.get(name);
    return pod?.metadata.uid === uid ? pod : undefined;
  }

  /** Acts on a node after a while, and not before it can reach the API server. */
  #onNode({ node }: Pick<Running, "node">, ms: number, action: () => void): void {
    this.act(ms, () => {
      if (node.isCutOff) this.#onNode({ node }, retryMs, action);
      else action();
    });
  }

  /** Gets the image, which may fail for a while. */
  #prepare({ metadata: { name, uid } }: PodObject): void {
    const { faults, random, truthOf } = this.parts;
    const running = this.#running.get(uid) as Running;
    const isSlow = faults.happens("image slow");
    const waits = isSlow ? ["ErrImagePull", "ImagePullBackOff"] : ["ContainerCreating"];
    if (isSlow) truthOf(running.flowRunId).losses.push("its image could not be pulled at once");
    for (const [index, reason] of waits.entries()) {
      this.#onNode(running, 10 + index * 5_000, () => this.#setState(uid, name, { waiting: { reason } }));
    }
    this.#onNode(running, isSlow ? 11_000 + random() * 120_000 : 20 + random() * 2_000, () => this.#start(uid, name));
  }

  #start(uid: string, name: string): void {
    const { faults, clock, random, world, truthOf, trace } = this.parts;
    const running = this.#running.get(uid) as Running;
    const { flowRunId, node } = running;
    if (running.isTerminating || running.process || node.isCutOff) return;
    // A kubelet starts no pod that was deleted or ended meanwhile.
    const pod = this.#podOf(uid, name);
    if (!pod || isFinal(pod)) return;
    const truth = truthOf(flowRunId);
    if (faults.happens("start failed")) {
      truth.losses.push("its container could not be started");
      this.#finish(uid, name, { exitCode: 128, reason: "StartError" });
      return;
    }
    const process = startProcess(this.parts, { flowRunId, controller: null, onTermination: "reschedule" });
    running.process = process;
    trace(() => `${node.name} started ${process.owner.name} for ${flowRunId} in pod ${name}`);
    let isOutOfMemory = false;
    process.onEnd(world, () => {
      const { status = 0 } = process.ending ?? {};
      // A shell counts a death by signal from 128 on.
      const exitCode = status < 0 ? 128 - status : status;
      const reason = isOutOfMemory ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
      this.#onNode(running, random() * 1_000, () => this.#finish(uid, name, { exitCode, reason }));
    });
    this.#onNode(running, random() * 1_000, () => {
      if (process.isAlive) this.#setState(uid, name, { running: { startedAt: this.api.time() } });
    });
    if (!faults.happens("process killed")) return;
    clock.after(random() * 20_000, process.owner, () => {
      isOutOfMemory = true;
      process.signal("SIGKILL", "out of memory");
    });
  }

  #setState(uid: string, name: string, state: ContainerState): void {
    const pod = this.#podOf(uid, name);
    if (!pod || isFinal(pod)) return;
    const phase = state.running ? "Running" : (pod.status?.phase ?? "Pending");
    this.setStatus(pod, { phase, containerStatuses: [containerStatus(uid, state)] });
  }

  /** Reports the end of the only container, and so of the pod. A pod that was told to end is then released. */
  #finish(uid: string, name: string, { exitCode, reason }: { exitCode: number; reason: string }): void {
    const pod = this.#podOf(uid, name);
    if (!pod) return;
    const finishedAt = this.api.time();
    if (!isFinal(pod)) {
      const phase = exitCode === 0 ? "Succeeded" : "Failed";
      const wasMade = reason !== "ContainerStatusUnknown";
      const status = containerStatus(wasMade ? uid : null, { terminated: { exitCode, reason, finishedAt } });
      this.setStatus(pod, { phase, containerStatuses: [status] });
    }
    this.release(uid, name);
  }

  /** Lets a pod go that was told to end and has ended: its grace time is over. */
  release(uid: string, name: string): void {
    this.act(this.parts.random() * 500, () => {
      const pod = this.#podOf(uid, name);
      if (!pod?.metadata.deletionTimestamp || !isFinal(pod)) return;
      this.setStatus({ ...pod, metadata: { ...pod.metadata, deletionGracePeriodSeconds: 0 } }, {});
    });
  }
}

/** Returns whether the pod has ended. */
export function isFinal({ status }: PodObject): boolean {
  return status?.phase === "Succeeded" || status?.phase === "Failed";
}

/** Returns the flow run of a pod, which its environment names. */
export function flowRunOf({ spec }: { readonly spec?: unknown }): string {
  const { containers } = spec as { containers: { env: { name: string; value: string }[] }[] };
  return containers[0]?.env.find(({ name }) => name === "PREFECT__FLOW_RUN_ID")?.value ?? "";
}

/** Returns the metadata with its finalizers. */
export function metaOf({ metadata }: PodObject): StoredMeta {
  return metadata;
}

function containerStatus(id: string | null, state: ContainerState): ContainerStatus {
  return { name: "prefect-job", restartCount: 0, state, ...(id !== null && { containerID: `c://${id}` }) };
}
