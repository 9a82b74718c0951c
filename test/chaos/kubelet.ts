// The scheduler and the only node of a chaos run: it runs the programs of pods as processes of this machine.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "../../src/api/wire.ts";
import type { PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { flowRunLabel } from "../../src/infrastructure/kubernetes/job-labels.ts";
import type { Namespace } from "../kubernetes/namespace.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { signalProcess } from "../support/processes.ts";

/** A pod whose program runs. */
export interface RunningPod {
  name: string;
  uid: string;
  job: string;
  flowRunId: string;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
}

/** A pod that was started here. */
interface Started extends RunningPod {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly container: Container;
  readonly startedAt: string;
  isOutOfMemory: boolean;
  isToldToEnd: boolean;
  finishedAt: string | null;
}

/** `home` is the HOME of the programs. Programs named `prefect` are run by this Python. */
interface KubeletOptions {
  home: string;
  python: string;
}

const lookMs = 150;

/** The node. It compares its pods with those of the API server again and again. Disposing ends all programs. */
export class Kubelet implements AsyncDisposable {
  readonly #started = new Map<string, Started>();
  readonly #looking: Promise<void>;
  #isOver = false;

  constructor(
    private readonly namespace: Namespace,
    private readonly options: KubeletOptions,
  ) {
    this.#looking = this.#look();
  }

  get home(): string {
    return this.options.home;
  }

  /** Returns the pods whose programs run. */
  running(): RunningPod[] {
    return [...this.#started.values()].filter(({ finishedAt }) => finishedAt === null);
  }

  /** Kills the program of a pod, as the kernel does for lack of memory. */
  kill({ uid }: RunningPod): void {
    const pod = this.#started.get(uid);
    if (pod === undefined) return;
    pod.isOutOfMemory = true;
    signalGroup(pod, "SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#looking;
    for (const pod of this.#started.values()) {
      signalGroup(pod, "SIGKILL");
      await pod.exited;
    }
  }

  async #look(): Promise<void> {
    while (!this.#isOver) {
      // An API server that does not answer is asked again. Programs go on meanwhile.
      await this.#compare().catch(() => {});
      await delay(lookMs);
    }
  }

  async #compare(): Promise<void> {
    const pods = await this.namespace.get<PodObject>("pods");
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const pod of this.#started.values()) if (!uids.has(pod.uid)) this.#remove(pod);
    await Promise.allSettled(pods.map((pod) => this.#treat(pod)));
  }

  #remove(pod: Started): void {
    signalGroup(pod, "SIGKILL");
    if (pod.finishedAt !== null) this.#started.delete(pod.uid);
  }

  async #treat(pod: PodObject): Promise<void> {
    const { deletionTimestamp, deletionGracePeriodSeconds = 0, uid } = pod.metadata;
    const started = this.#started.get(uid);
    if (started === undefined) {
      if (deletionTimestamp !== undefined) return await this.namespace.removePod(pod);
      if (pod.status?.phase !== "Pending") return;
      if (pod.spec?.nodeName === undefined) await this.namespace.bind(pod);
      return this.#start(pod);
    }
    const status = toStatus(started);
    if (pod.status?.phase !== status.phase) await this.namespace.setStatus(pod, status);
    if (deletionTimestamp === undefined) return;
    if (started.finishedAt !== null) return await this.namespace.removePod(pod);
    if (started.isToldToEnd) return;
    started.isToldToEnd = true;
    if (started.child.pid) signalProcess(started.child.pid, "SIGTERM");
    const grace = setTimeout(() => signalGroup(started, "SIGKILL"), deletionGracePeriodSeconds * 1_000);
    void started.exited.then(() => clearTimeout(grace));
  }

  #start({ metadata, spec }: PodObject): void {
    const [container] = (spec?.containers ?? []) as Container[];
    if (!container) throw new Error("the pod has no container");
    const { args, env } = container;
    const [program = "", ...rest] = args[0] === "prefect" ? [this.options.python, "-m", ...args] : args;
    const variables = Object.fromEntries(env.map(({ name, value }) => [name, value ?? ""]));
    const child = spawn(program, rest, {
      cwd: this.home,
      env: cleanEnvironment({ ...variables, HOME: this.home }),
      stdio: "ignore",
      detached: true,
    });
    const pod: Started = {
      name: metadata.name,
      uid: metadata.uid,
      job: metadata.labels?.["job-name"] ?? "",
      flowRunId: metadata.labels?.[flowRunLabel] ?? "",
      child,
      exited: once(child, "exit"),
      container,
      startedAt: now(),
      isOutOfMemory: false,
      isToldToEnd: false,
      finishedAt: null,
    };
    this.#started.set(pod.uid, pod);
    void pod.exited.then(() => {
      // Processes that the program started end with its container.
      signalGroup(pod, "SIGKILL");
      pod.finishedAt = now();
    });
  }
}

/** The number of a group may be another's after its end. */
function signalGroup({ child: { pid }, finishedAt }: Started, signal: NodeJS.Signals): void {
  if (pid && finishedAt === null) signalProcess(-pid, signal);
}

function toStatus(pod: Started): JsonObject {
  const { container, child, startedAt, finishedAt, isOutOfMemory } = pod;
  const common = { name: container.name, image: container.image, imageID: "", restartCount: 0, containerID: "c://1" };
  if (finishedAt === null) {
    const status = { ...common, ready: true, state: { running: { startedAt } } };
    return { phase: "Running", containerStatuses: [status] };
  }
  const exitCode = child.exitCode ?? (child.signalCode === "SIGKILL" ? 137 : 143);
  const reason = isOutOfMemory ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
  const terminated = { exitCode, reason, startedAt, finishedAt, containerID: "c://1" };
  const status = { ...common, ready: false, state: { running: null, terminated } };
  return { phase: exitCode === 0 ? "Succeeded" : "Failed", containerStatuses: [status] };
}

/** Kubernetes has whole seconds. */
function now(): string {
  return new Date().toISOString().replace(/\.\d+/, "");
}
