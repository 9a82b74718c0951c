// What a table needs for many pods. A pod has several kB on the wire.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { Cluster } from "../../src/infrastructure/kubernetes/cluster/cluster.ts";
import { type PodObject, pods } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { Table } from "../../src/infrastructure/kubernetes/cluster/table.ts";
import { waitFor } from "../support/wait-for.ts";
import { openFakeCluster, startFakeKubernetes } from "./fake-kubernetes.ts";
import { recordingLogger, untilTheEnd } from "./test-socket.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function usedBytes(): number {
  collectGarbage();
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

const count = 10_000;
const labels = { "prefect.io/flow-run-id": "r", "prefect.io/flow-run-name": "some-name", "job-name": "some-job" };
const managedFields = [{ manager: "kube-controller-manager", fieldsV1: { text: "f:spec ".repeat(300) } }];

test("a table of 10,000 pods keeps less than 350 bytes of each", async () => {
  await using server = await startFakeKubernetes();
  for (let n = 0; n < count; n++) {
    const name = `some-flow-run-name-${n}-x7k2p`;
    server.put("pods", { metadata: { name, labels, managedFields }, status: { phase: "Running" } });
  }
  using cluster = await openFakeCluster(server, recordingLogger().log);
  const full = await usedByFullTable(cluster);
  const freed = (): number => (full - usedBytes()) / count;
  await waitFor(() => freed() > 100, { timeoutMs: 10_000, what: "the end of the table" });
  expect(freed()).toBeLessThan(350);
});

async function usedByFullTable(cluster: Cluster): Promise<number> {
  const table = openTable(cluster);
  await table.synced(untilTheEnd);
  const { size } = table;
  expect(size).toBe(count);
  const used = usedBytes();
  table[Symbol.dispose]();
  return used;
}

function openTable(cluster: Cluster) {
  return new Table<PodObject, { uid: string; name: string; phase: string }>({
    cluster,
    resource: pods,
    namespace: "default",
    labelSelector: "prefect.io/flow-run-id",
    toRow: ({ metadata: { uid, name }, status: { phase = "" } = {} }) => ({ uid, name, phase }),
    onChanged: () => undefined,
    onDeleted: () => undefined,
    log: recordingLogger().log,
  });
}
