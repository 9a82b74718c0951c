// The Kubernetes of a chaos run: a real API server with its controllers, one node, and the Jobs and pods of flow runs.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deleteObject } from "../../src/infrastructure/kubernetes/cluster/objects.ts";
import { type JobObject, jobs, pods } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { flowRunLabel } from "../../src/infrastructure/kubernetes/job-labels.ts";
import { Namespace } from "../kubernetes/namespace.ts";
import { type BlackHoleRelay, startBlackHoleRelay } from "../support/black-hole-relay.ts";
import { type KubernetesCluster, startKubernetes } from "../support/kubernetes-cluster.ts";
import { freezeProcess } from "../support/processes.ts";
import type { Random } from "../support/random.ts";
import { Kubelet, type RunningPod } from "./kubelet.ts";
import type { FaultKind } from "./plan.ts";

/** What ends a pod. */
export type PodFault = Extract<FaultKind, "pod-oom" | "pod-delete" | "pod-evict" | "job-delete">;

/** A Job, by its labels. */
export interface FoundJob {
  name: string;
  /** Empty for a Job that lictor did not create. */
  flowRunId: string;
  /** Whether it is complete or has failed. */
  isOver: boolean;
}

/** The part of the connections that a fault strikes. */
const rate = 0.6;

/** A private cluster. What happens to it happens in turn. Disposing ends it and its pods. */
export class Pods implements AsyncDisposable {
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly cluster: KubernetesCluster,
    private readonly inNamespace: Namespace,
    private readonly relay: BlackHoleRelay,
    private readonly kubelet: Kubelet,
    private readonly random: Random,
    private readonly onEvent: (event: string) => void,
    /** The variables that workers need to find the cluster and, without a journal, the Jobs. */
    readonly variables: Readonly<Record<string, string>>,
  ) {}

  /** Starts a cluster with files in `directory`. `onEvent` is told of the ends and starts of its API server. */
  static async open(
    directory: string,
    python: string,
    random: Random,
    onEvent: (event: string) => void,
  ): Promise<Pods> {
    const cluster = await startKubernetes();
    try {
      const inNamespace = await Namespace.create(cluster);
      const relay = await startBlackHoleRelay(Number(new URL(cluster.url).port));
      const kubeconfig = join(directory, "kubeconfig.json");
      const direct = JSON.stringify(cluster.kubeconfig({ token: cluster.adminToken }));
      await writeFile(kubeconfig, direct.replace(cluster.url, `https://127.0.0.1:${relay.port}`));
      const home = join(directory, "node");
      await mkdir(home);
      const kubelet = new Kubelet(inNamespace, { home, python });
      return new Pods(cluster, inNamespace, relay, kubelet, random, onEvent, {
        KUBECONFIG: kubeconfig,
        PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: inNamespace.name,
      });
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The namespace of the Jobs. */
  get namespace(): string {
    return this.inNamespace.name;
  }

  /** HOME of all programs in pods. */
  get home(): string {
    return this.kubelet.home;
  }

  /** Ends the API server and starts it again after `pauseMs`. */
  restart(how: "SIGTERM" | "SIGKILL", pauseMs: number): Promise<void> {
    return this.#inTurn(async () => {
      this.onEvent(`${how} to the API server of Kubernetes`);
      await this.cluster.restart(how, pauseMs);
      this.onEvent("the API server of Kubernetes started");
    });
  }

  /** Restarts the API server, which has then forgotten the old versions of objects. */
  forget(): Promise<void> {
    return this.#inTurn(() => this.cluster.restartAndForget());
  }

  /** Lets the API server stand still for some time. */
  freeze(durationMs: number): Promise<void> {
    return this.#inTurn(() => freezeProcess(this.cluster.apiServerPid(), durationMs));
  }

  /** Ends a part of the workers' connections. Returns how many. */
  cut(): number {
    return this.relay.cut(() => this.random() < rate);
  }

  /** Makes a part of the workers' connections half-open. Returns how many. */
  swallow(): number {
    return this.relay.swallow(() => this.random() < rate);
  }

  /** Returns all Jobs, also those that have ended. */
  jobs(): Promise<FoundJob[]> {
    return this.#inTurn(async () =>
      (await this.inNamespace.get<JobObject>("jobs")).map(({ metadata: { name, labels }, status }) => ({
        name,
        flowRunId: labels?.[flowRunLabel] ?? "",
        isOver: (status?.conditions ?? []).some(({ type, status: is }) => is === "True" && endTypes.includes(type)),
      })),
    );
  }

  /** Returns the pods whose programs run. */
  running(): RunningPod[] {
    return this.kubelet.running();
  }

  /** Ends a pod. It may have ended meanwhile. */
  end(pod: RunningPod, how: PodFault): Promise<void> {
    return this.#inTurn(async () => {
      const { admin, name: namespace } = this.inNamespace;
      switch (how) {
        case "pod-oom":
          return this.kubelet.kill(pod);
        case "pod-delete":
          return void (await deleteObject(admin, pods, namespace, pod.name, {}));
        case "pod-evict":
          return await this.inNamespace.evict(pod.name);
        case "job-delete": {
          const propagationPolicy = this.random() < 0.5 ? "Background" : "Foreground";
          return void (await deleteObject(admin, jobs, namespace, pod.job, { propagationPolicy }));
        }
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(async () => {
      await this.kubelet[Symbol.asyncDispose]();
      await this.relay[Symbol.asyncDispose]();
      this.inNamespace[Symbol.dispose]();
      await this.cluster[Symbol.asyncDispose]();
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return await mine;
  }
}

const endTypes = ["Complete", "Failed"];
