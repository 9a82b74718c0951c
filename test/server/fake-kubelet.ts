// Runs the pods of a fake API server as processes of this machine: it plays the Job controller, the scheduler and the kubelet.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import type { FakeKubernetes, FakeObject } from "../fault/fake-kubernetes.ts";
import { completeJob, failedJob } from "../fault/fake-kubernetes-pool.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { signalProcess } from "../support/processes.ts";

/** An image that no registry has. Any other is this machine. */
export const missingImage = "registry.example/missing:1";

/** What the program `prefect` of a Python environment does. */
const prefectProgram = "from prefect.cli import app; app()";

/** The node. Disposing ends all processes. */
export interface FakeKubelet extends AsyncDisposable {
  /** Returns the Jobs in the namespace `default`. */
  jobs(): Promise<JobObject[]>;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
}

const lookMs = 100;

/**
 * Starts the node. A program that is killed was out of memory. Programs named `prefect` are run by this Python. `directory` is the
 * working directory of all programs, into which earlier releases copy the code of flows.
 */
export function startFakeKubelet(cluster: FakeKubernetes, python: string, directory: string): FakeKubelet {
  const children = new Map<string, ChildProcess>();
  let isOver = false;

  async function readJobs(): Promise<JobObject[]> {
    const response = await fetch(`${cluster.url}/apis/batch/v1/namespaces/default/jobs`);
    return ((await response.json()) as { items: JobObject[] }).items;
  }

  function putPod(job: JobObject, status: NonNullable<PodObject["status"]>): void {
    const { name, uid, labels, namespace } = job.metadata;
    const metadata = {
      name: `${name}-pod`,
      namespace,
      labels: { ...labels, "job-name": name },
      ownerReferences: [{ kind: "Job", name, uid }],
    };
    cluster.put("pods", { metadata, spec: { nodeName: "node-1" }, status } as unknown as FakeObject);
  }

  function run(job: JobObject): void {
    const [container] = (job.spec?.template?.spec as { containers?: Container[] } | undefined)?.containers ?? [];
    if (!container) throw new Error("the Job has no container");
    const { name, image, args, env } = container;
    putPod(job, { phase: "Pending" });
    if (image === missingImage) {
      const message = `Back-off pulling image "${image}": not found`;
      const state = { waiting: { reason: "ImagePullBackOff", message } };
      putPod(job, { phase: "Pending", containerStatuses: [{ name, state }] });
      return;
    }
    // An environment that was moved has programs that name the old place. Before 3.1, `python -m prefect` does nothing.
    const [program = "", ...rest] = args[0] === "prefect" ? [python, "-c", prefectProgram, ...args.slice(1)] : args;
    const variables = Object.fromEntries(env.map((entry) => [entry.name, entry.value ?? ""]));
    const child = spawn(program, rest, {
      cwd: directory,
      env: cleanEnvironment(variables),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    children.set(job.metadata.uid, child);
    const pod = `${job.metadata.name}-pod`;
    const onLine = (line: string): void => {
      cluster.logs.set(pod, `${cluster.logs.get(pod) ?? ""}${new Date().toISOString()} ${line}\n`);
    };
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", onLine);
    const startedAt = new Date().toISOString();
    putPod(job, { phase: "Running", containerStatuses: [{ name, state: { running: { startedAt } } }] });
    child.on("close", (code, signal) => {
      children.delete(job.metadata.uid);
      const exitCode = code ?? (signal === "SIGKILL" ? 137 : 143);
      const reason = exitCode === 137 ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
      const terminated = { exitCode, reason, startedAt, finishedAt: new Date().toISOString() };
      const phase = exitCode === 0 ? "Succeeded" : "Failed";
      void readJobs().then((jobs) => {
        if (isOver || !jobs.some(({ metadata }) => metadata.uid === job.metadata.uid)) return;
        putPod(job, { phase, containerStatuses: [{ name, state: { terminated } }] });
        cluster.put("jobs", { ...job, status: exitCode === 0 ? completeJob : failedJob } as unknown as FakeObject);
      });
    });
  }

  const seen = new Set<string>();
  const looking = (async () => {
    while (!isOver) {
      const jobs = await readJobs().catch(() => undefined);
      for (const job of jobs ?? []) {
        if (seen.has(job.metadata.uid) || job.status) continue;
        seen.add(job.metadata.uid);
        run(job);
      }
      const uids = jobs?.map(({ metadata }) => metadata.uid);
      for (const [uid, { pid }] of children) if (pid && uids && !uids.includes(uid)) signalProcess(-pid, "SIGTERM");
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  })();

  return {
    jobs: readJobs,
    async [Symbol.asyncDispose]() {
      isOver = true;
      await looking;
      for (const child of children.values()) {
        if (child.pid) signalProcess(-child.pid, "SIGKILL");
        if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      }
    },
  };
}
