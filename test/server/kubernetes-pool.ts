// Kubernetes work pools on the shared server, and workers for them with a cluster in the test process.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import { type FakeKubernetes, startFakeKubernetes } from "../fault/fake-kubernetes.ts";
import { kubeconfigOf } from "../fault/fake-kubernetes-pool.ts";
import { inCheckout } from "../support/checkout.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { type FakeKubelet, startFakeKubelet } from "./fake-kubelet.ts";

/** One work pool of type kubernetes, and its cluster. */
export interface KubernetesPool extends AsyncDisposable {
  api: PrefectApi;
  name: string;
  cluster: FakeKubernetes;
  kubelet: FakeKubelet;
  /** The variables that a worker needs to find the cluster. */
  env: Record<string, string>;
  startWorker(options?: Partial<WorkerOptions>): Promise<RunningProgram>;
  /** Creates a flow run of a fixture flow, or of a command. Returns its id. */
  run(flow: string, jobVariables?: JsonObject, parameters?: JsonObject): Promise<string>;
}

/** Creates a pool of a new name with a cluster of its own. */
export async function newKubernetesPool(): Promise<KubernetesPool> {
  const api = prefectApi(inject("apiUrl"));
  const name = `kubernetes-${randomUUID().slice(0, 8)}`;
  await api.createWorkPool(name, { type: "kubernetes", base_job_template: kubernetesBaseJobTemplate });
  const cluster = await startFakeKubernetes();
  const { python } = await ensurePythonEnvironment(console.error);
  const directory = await makeTemporaryDirectory("lictor-node-");
  const kubelet = startFakeKubelet(cluster, python, directory.path);
  const env = { KUBECONFIG: join(directory.path, "config") };
  await writeFile(env.KUBECONFIG, JSON.stringify(kubeconfigOf(cluster)));
  return {
    api,
    name,
    cluster,
    kubelet,
    env,
    startWorker: async (options = {}) =>
      await startWorker(name, { apiUrl: inject("apiUrl"), ...options, env: { ...env, ...options.env } }),
    async run(flow, jobVariables = {}, parameters = {}) {
      const deployment = await api.createDeployment({
        flowName: flow,
        name: randomUUID(),
        workPool: name,
        path: inCheckout("test/fixtures/flows"),
        entrypoint: `${flow}.py:${flow}`,
        jobVariables,
      });
      return (await api.createFlowRun(deployment, { parameters })).id;
    },
    async [Symbol.asyncDispose]() {
      await kubelet[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}
