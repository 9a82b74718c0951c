// The opened type `docker` with a fake engine, without a server and without a worker.
import type { FlowRun, JsonObject, WorkPool } from "../../src/api/wire.ts";
import { openDocker } from "../../src/infrastructure/docker/docker-infrastructure.ts";
import type { DockerJob } from "../../src/infrastructure/docker/docker-job.ts";
import type { Handle } from "../../src/infrastructure/execution.ts";
import type {
  AdoptOptions,
  Infrastructure,
  InfrastructureServices,
  StartOptions,
} from "../../src/infrastructure/pool-type.ts";
import type { RunFacts } from "../../src/job/job-fields.ts";
import type { FakeEngine } from "../support/fake-engine.ts";
import { type Recorded, recordingLogger, untilTheEnd } from "./test-socket.ts";

/** The id of the flow run. */
export const flowRunId = "11111111-1111-4111-8111-111111111111";
/** The id of its work pool. */
export const workPoolId = "33333333-3333-4333-8333-333333333333";

/** The labels of a container of the flow run, or of another one. */
export const labelsOf = (id = flowRunId, pool = workPoolId) => ({
  "io.lictor.flow-run-id": id,
  "io.lictor.work-pool-id": pool,
  "io.lictor.instance": "other",
  "io.lictor.worker-name": "w",
  "io.lictor.attempt": "ours",
  "io.lictor.executes-itself": "true",
});

/** The opened type. */
export interface FakeDocker extends Disposable {
  infrastructure: Infrastructure<DockerJob>;
  records: readonly Recorded[];
  warnings(): string[];
  /** The handles that were stored. */
  handles: Handle[];
  options: StartOptions & AdoptOptions<DockerJob>;
  jobOf(fields: JsonObject): DockerJob;
}

/** Opens the type for this engine. */
export async function openFakeDocker({ host }: FakeEngine, environment: Record<string, string> = {}) {
  const { log, records, warnings } = recordingLogger();
  const services = {
    environment: { DOCKER_HOST: host, DOCKER_CONFIG: "/nowhere", ...environment },
    printLine: () => undefined,
    hide: () => undefined,
    log,
  } as unknown as InfrastructureServices;
  const infrastructure = await openDocker(services);
  const handles: Handle[] = [];
  const facts = {
    workPool: { id: workPoolId, name: "p" } as WorkPool,
    flowRun: { id: flowRunId, name: "run" } as FlowRun,
    flow: null,
    deployment: null,
    workerName: "w",
    workerId: null,
    exportedSettings: { PREFECT_API_URL: "https://api.example/api" },
    environment: {},
  } as unknown as RunFacts;
  const docker: FakeDocker = {
    infrastructure,
    records,
    warnings,
    handles,
    jobOf: (fields) => infrastructure.toJob({ image: "i:1", ...fields }, facts),
    options: {
      flowRunId,
      directory: null,
      signal: untilTheEnd,
      instance: null,
      proposals: ["ours"],
      onEvent: () => undefined,
      onWaiting: async () => true,
      isAwaited: async () => true,
      onHandle: async (handle) => void handles.push(handle),
      hasEnded: false,
      readJob: () => Promise.reject(new Error("no job in this test")),
    },
    [Symbol.dispose]: () => infrastructure[Symbol.dispose](),
  };
  return docker;
}
