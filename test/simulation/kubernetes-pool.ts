// The real pool type `kubernetes` with a cluster of the simulation.
import type { JsonObject } from "../../src/api/wire.ts";
import { Cluster } from "../../src/infrastructure/kubernetes/cluster/cluster.ts";
import type { ClusterAccess } from "../../src/infrastructure/kubernetes/cluster/cluster-access.ts";
import { Clusters } from "../../src/infrastructure/kubernetes/cluster/clusters.ts";
import { Outage } from "../../src/infrastructure/kubernetes/cluster/outage.ts";
import type { Transport } from "../../src/infrastructure/kubernetes/cluster/transport.ts";
import { openKubernetesOn } from "../../src/infrastructure/kubernetes/kubernetes-infrastructure.ts";
import type { PoolType } from "../../src/infrastructure/pool-type.ts";
import { pick, type Random } from "../support/random.ts";
import { withoutFiles } from "./docker-pool.ts";

const access: ClusterAccess = {
  server: "https://cluster",
  tls: { ca: undefined, rejectUnauthorized: true },
  proxy: undefined,
  namespace: null,
  origin: "the simulation",
  headers: {},
  credentials: { read: async () => ({ authorization: null, certificate: null }), renew: () => undefined },
};

/** Returns the pool type whose requests to the cluster are sent by `transport`. */
export function kubernetesPoolOn(transport: Transport): PoolType {
  return {
    name: "kubernetes",
    isLocal: false,
    baseJobTemplate: kubernetesTemplate({ ttlSeconds: null, podWatchSeconds: null }),
    async open(services) {
      const environment = {};
      const connect = async (): Promise<Cluster> =>
        new Cluster(access, new Outage(services.log), environment, transport);
      const clusters = new Clusters({ ...services, environment }, connect);
      return withoutFiles(await openKubernetesOn(clusters, { ...services, environment }));
    },
  };
}

/** Returns the base job template of a seed. */
export function anyKubernetesTemplate(random: Random): JsonObject {
  const [ttlSeconds, podWatchSeconds] = [pick(random, [null, 5, 60]), pick(random, [null, null, 90])];
  return kubernetesTemplate({ ttlSeconds, podWatchSeconds });
}

/** What differs between the work pools of seeds. */
interface TemplateOptions {
  /** Ended Jobs are kept if it is null. */
  readonly ttlSeconds: number | null;
  readonly podWatchSeconds: number | null;
}

/** Returns a base job template. Output is not read, because its position is stored in a real file. */
function kubernetesTemplate({ ttlSeconds, podWatchSeconds }: TemplateOptions): JsonObject {
  const podSpec = {
    ...{ parallelism: 1, completions: 1, restartPolicy: "Never" },
    containers: [{ name: "prefect-job", image: "i:1" }],
  };
  const job_manifest = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { annotations: {}, labels: {}, generateName: "job-" },
    spec: { backoffLimit: 0, ttlSecondsAfterFinished: ttlSeconds, template: { spec: podSpec } },
  };
  const job_configuration = {
    job_manifest,
    stream_output: false,
    pod_watch_timeout_seconds: podWatchSeconds,
    program: "{{ program }}",
    timeout_seconds: "{{ timeout_seconds }}",
  };
  return { job_configuration, variables: { properties: { program: {}, timeout_seconds: {} } } };
}
