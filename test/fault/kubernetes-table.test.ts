// The table of the objects of a namespace: it lists, watches, and is never mistaken about what it has not seen.
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { monotonicMs } from "../../src/async/clock.ts";
import type { Cluster } from "../../src/infrastructure/kubernetes/cluster/cluster.ts";
import { type PodObject, pods } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { Table } from "../../src/infrastructure/kubernetes/cluster/table.ts";
import { waitFor } from "../support/wait-for.ts";
import { type FakeKubernetes, openFakeCluster, startFakeKubernetes } from "./fake-kubernetes.ts";
import { forbidden, status } from "./kubernetes-answers.ts";
import { type Recorded, recordingLogger, untilTheEnd } from "./test-socket.ts";

interface Row {
  name: string;
  phase: string;
}

interface Watched extends AsyncDisposable {
  server: FakeKubernetes;
  cluster: Cluster;
  table: Table<PodObject, Row>;
  /** What the callbacks were told, such as `changed p Running`. */
  told: string[];
  records: readonly Recorded[];
  warnings(): string[];
  put(name: string, phase?: string): void;
  /** The requests for lists, and the versions that watches began from. */
  lists(): number;
  watchedFrom(): string[];
  until(what: string, isSo: () => boolean): Promise<void>;
}

const own = { "prefect.io/flow-run-id": "r" };

async function watch(
  prepare: (server: FakeKubernetes) => void = () => undefined,
  silenceMs = 70_000,
): Promise<Watched> {
  const server = await startFakeKubernetes();
  prepare(server);
  const { log, records, warnings } = recordingLogger();
  const cluster = await openFakeCluster(server, log);
  const told: string[] = [];
  const table = new Table<PodObject, Row>({
    cluster,
    resource: pods,
    namespace: "default",
    labelSelector: "prefect.io/flow-run-id",
    toRow: ({ metadata: { name }, status: { phase = "Unknown" } = {} }) => ({ name, phase }),
    onChanged: ({ name, phase }) => {
      told.push(`changed ${name} ${phase}`);
      if (phase === "Failed") throw new Error("a mistake of the test");
    },
    onDeleted: ({ name }, last) => void told.push(`deleted ${name} ${last?.status?.phase ?? "unseen"}`),
    onSynced: () => void told.push("synced"),
    log,
    silenceMs,
  });
  const requests = (verb: string) => server.requests.filter((request) => request.verb === verb);
  return {
    server,
    cluster,
    table,
    told,
    records,
    warnings,
    put: (name, phase = "Pending") => void server.put("pods", { metadata: { name, labels: own }, status: { phase } }),
    lists: () => requests("list").length,
    watchedFrom: () => requests("watch").map(({ query }) => query.get("resourceVersion") ?? ""),
    until: async (what, isSo) => void (await waitFor(isSo, { timeoutMs: 20_000, intervalMs: 5, what })),
    async [Symbol.asyncDispose]() {
      table[Symbol.dispose]();
      cluster[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function putPods(server: FakeKubernetes, count: number, phase = "Pending"): void {
  for (let n = 0; n < count; n++) server.put("pods", { metadata: { name: `p${n}`, labels: own }, status: { phase } });
}

describe("a table", () => {
  test("lists in pages of 500, and then watches from the version of the list", async () => {
    await using watched = await watch((server) => putPods(server, 1_001));
    const { table, server, told } = watched;
    expect(table.isSynced).toBe(false);
    expect(table.ageMs).toBeNull();
    await table.synced(untilTheEnd);
    expect(table.isSynced).toBe(true);
    expect(table.size).toBe(1_001);
    expect(told.length).toBe(1_002);
    expect(told.at(-1)).toBe("synced");
    await watched.until("the watch", () => server.watches().length === 1);
    expect(server.requests.map(({ verb, query }) => `${verb} ${query.get("limit")}`)).toEqual([
      "list 500",
      "list 500",
      "list 500",
      "watch null",
    ]);
    expect(watched.watchedFrom()).toEqual(["1101"]);
    const { query } = server.requests.at(-1) ?? {};
    expect(query?.get("allowWatchBookmarks")).toBe("true");
    expect(query?.get("labelSelector")).toBe("prefect.io/flow-run-id");
    expect(Number(query?.get("timeoutSeconds"))).toBeGreaterThanOrEqual(300);
  });

  test("tells of what is new, has changed and is gone", async () => {
    await using watched = await watch();
    const { table, server, told } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    watched.put("a");
    watched.put("a", "Running");
    server.put("pods", { metadata: { name: "foreign" } });
    server.put("pods", { metadata: { name: "b", namespace: "other", labels: own } });
    await watched.until("two changes", () => told.length === 3);
    const { uid } = server.put("pods", { metadata: { name: "c", labels: own }, status: { phase: "Running" } }).metadata;
    await watched.until("the third", () => table.get(uid) !== undefined);
    expect(table.get(uid)).toEqual({ name: "c", phase: "Running" });
    expect([...table.all()].map(({ name }) => name)).toEqual(["a", "c"]);
    server.remove("pods", "default", "a");
    await watched.until("the deletion", () => table.size === 1);
    expect(told).toEqual([
      "synced",
      "changed a Pending",
      "changed a Running",
      "changed c Running",
      "deleted a Running",
    ]);
  });

  test("continues from the last version when the stream ends or breaks, and says nothing", async () => {
    await using watched = await watch();
    const { server, table } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    watched.put("a");
    server.bookmark();
    await watched.until("the pod", () => table.size === 1);
    server.endWatches("end");
    await watched.until("the second watch", () => watched.watchedFrom().length === 2 && server.watches().length === 1);
    // A bookmark moves the version on, although no pod of the table has changed.
    server.put("pods", { metadata: { name: "foreign" } });
    server.bookmark();
    await delay(50);
    server.endWatches("cut");
    watched.put("b");
    await watched.until("the missed pod", () => table.size === 2);
    expect(watched.watchedFrom()).toEqual(["100", "101", "102"]);
    expect(watched.lists()).toBe(1);
    expect(watched.warnings()).toEqual([]);
    expect(watched.table.problem).toBeNull();
  });

  test.each(["as an event", "as a status"])(
    "lists again after 410 %s, and tells what changed meanwhile",
    async (how) => {
      await using watched = await watch((server) => putPods(server, 3));
      const { server, table, told } = watched;
      await watched.until("the watch", () => server.watches().length === 1);
      told.length = 0;
      let isRefused = how === "as an event";
      server.faults.push(({ verb }) => {
        if (verb !== "watch" || isRefused) return undefined;
        isRefused = true;
        return status(410, { reason: "Expired" });
      });
      server.isSilent = true;
      server.remove("pods", "default", "p0");
      watched.put("p1", "Running");
      watched.put("new");
      if (how === "as an event") server.forget();
      server.isSilent = false;
      server.endWatches("cut");
      await watched.until("the list", () => told.includes("synced"));
      expect([...told].sort()).toEqual(["changed new Pending", "changed p1 Running", "deleted p0 unseen", "synced"]);
      expect(table.size).toBe(3);
      expect(watched.lists()).toBe(2);
      expect(watched.warnings()).toEqual([]);
    },
  );

  test("lists at once after an outage that ends with 410, and does not warn of it", async () => {
    await using watched = await watch((server) => putPods(server, 3));
    const { server } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    // Seen with Kubernetes 1.34: a new API server knows no older versions. Each failure doubles the pause.
    const outage = Array.from({ length: 6 }, () => status(503, {}, { "retry-after": "0" }));
    const answers = [...outage, status(410, { reason: "Expired", message: "too old resource version" })];
    server.faults.push(({ verb }) => (verb === "watch" ? answers.shift() : undefined));
    server.endWatches("cut");
    await watched.until("the list", () => watched.lists() === 2);
    await watched.until("the watch", () => server.watches().length === 1);
    expect(watched.warnings().filter((text) => text.includes("too old"))).toEqual([]);
  });

  test("takes an object of the same name that was created anew for another one", async () => {
    await using watched = await watch();
    const { server, told } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    watched.put("a", "Running");
    server.remove("pods", "default", "a");
    watched.put("a");
    await watched.until("all", () => told.length === 4);
    expect(told.slice(1)).toEqual(["changed a Running", "deleted a Running", "changed a Pending"]);
  });

  test("connects again when the watch is silent, and gets what it missed", async () => {
    await using watched = await watch(undefined, 300);
    const { server, table } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    server.isSilent = true;
    watched.put("a");
    const silentSince = monotonicMs();
    server.isSilent = false;
    await watched.until("the pod", () => table.size === 1);
    expect(monotonicMs() - silentSince).toBeGreaterThan(150);
    expect(watched.lists()).toBe(1);
    expect(watched.warnings()).toEqual([]);
    // Bookmarks are signs of life.
    const before = watched.watchedFrom().length;
    for (let n = 0; n < 8; n++) {
      await delay(100);
      server.bookmark();
    }
    expect(watched.watchedFrom().length).toBe(before);
    expect(table.ageMs).toBeLessThan(1_000);
  });

  test("says once that a watch is refused, tries again, and says once that it is over", async () => {
    await using watched = await watch((server) => {
      putPods(server, 1);
      server.isDenied = ({ verb }) => verb === "watch";
    });
    const { server, table, records } = watched;
    await watched.until("three refusals", () => watched.watchedFrom().length >= 3);
    expect(table.size).toBe(1);
    expect(table.problem).toMatch(/may not watch pods in namespace 'default'/);
    expect(watched.warnings()).toEqual([
      `'system:serviceaccount:default:worker' may not watch pods in namespace 'default'. Add this rule to a Role of namespace 'default' that is bound to it: {apiGroups: [""], resources: ["pods"], verbs: ["watch"]}. (GET /api/v1/namespaces/default/pods: 403) Until then, changes of pods in namespace 'default' are not seen.`,
    ]);
    server.isDenied = () => false;
    watched.put("a");
    await watched.until("the pod", () => table.size === 2 && table.problem === null);
    expect(records.at(-1)?.msg).toMatch(/^Changes of pods in namespace 'default' are seen again, after \d+ s\.$/);
  });

  test("also waits for the permission to list", async () => {
    await using watched = await watch((server) => {
      putPods(server, 1);
      server.faults.push((request) =>
        request.verb === "list" && watchedLists(server) < 3 ? forbidden(request) : undefined,
      );
    });
    await watched.table.synced(untilTheEnd);
    expect(watched.table.size).toBe(1);
    expect(watched.warnings()).toHaveLength(1);
  });

  test("keeps what it knows while the server is away", async () => {
    await using watched = await watch((server) => putPods(server, 2));
    const { server, table, told } = watched;
    await watched.until("the watch", () => server.watches().length === 1);
    await server.stop();
    await watched.until("the outage", () => watched.warnings().length === 1);
    expect(watched.warnings()[0]).toMatch(
      /^Cannot reach the Kubernetes API at .* stay as they are until it answers again/,
    );
    expect(table.size).toBe(2);
    await server.start();
    watched.put("p0", "Running");
    await watched.until("the change", () => told.includes("changed p0 Running"));
    expect(told.filter((line) => line.startsWith("deleted"))).toEqual([]);
    expect(watched.lists()).toBe(1);
    expect(watched.warnings()).toHaveLength(1);
  });

  test("waits as long as a busy server asks for", async () => {
    const refusedAt: number[] = [];
    await using watched = await watch((server) => {
      server.faults.push(({ verb }) => {
        if (verb !== "list" || refusedAt.length > 0) return undefined;
        refusedAt.push(monotonicMs());
        return status(429, { reason: "TooManyRequests" }, { "retry-after": "1" });
      });
    });
    await watched.table.synced(untilTheEnd);
    expect(monotonicMs() - (refusedAt[0] ?? 0)).toBeGreaterThanOrEqual(1_000);
    expect(watched.warnings()).toEqual([]);
  });

  test("does not repeat a watch at once that ends at once, again and again", async () => {
    await using watched = await watch((server) => {
      server.faults.push(({ verb }) => (verb === "watch" ? (response) => void response.end() : undefined));
    });
    await watched.table.synced(untilTheEnd);
    await delay(1_500);
    expect(watched.watchedFrom().length).toBeLessThanOrEqual(4);
    watched.server.faults.length = 0;
    watched.put("a");
    await watched.until("the pod", () => watched.table.size === 1);
  });

  test("does not take a proxy that ends watches after a while for a failure", async () => {
    await using watched = await watch();
    const { server } = watched;
    for (let n = 1; n <= 6; n++) {
      await watched.until("the watch", () => watched.watchedFrom().length === n && server.watches().length === 1);
      await delay(1_100);
      server.endWatches("cut");
      // Without a pause that grows, the next watch is there in a moment.
    }
    await watched.until("the next watch", () => watched.watchedFrom().length === 7);
    expect(watched.lists()).toBe(1);
    expect(watched.warnings()).toEqual([]);
  });

  test("goes on after an error of its caller and after a line that is no JSON", async () => {
    await using watched = await watch((server) => {
      let isFirst = true;
      server.faults.push(({ verb }) => {
        if (verb !== "watch" || !isFirst) return undefined;
        isFirst = false;
        return (response) => void response.end("<html>\n");
      });
    });
    const { records } = watched;
    await watched.table.synced(untilTheEnd);
    watched.put("a", "Failed");
    watched.put("b");
    await watched.until("both pods", () => watched.table.size === 2);
    expect(records.some(({ msg }) => msg === "A change of pods in namespace 'default' was not dealt with")).toBe(true);
  });

  test("ends its watch and its waits when it is disposed of", async () => {
    await using watched = await watch();
    await watched.until("the watch", () => watched.server.watches().length === 1);
    watched.table[Symbol.dispose]();
    await watched.until("no watch", () => watched.server.watches().length === 0);
    const { length } = watched.server.requests;
    await delay(500);
    expect(watched.server.requests).toHaveLength(length);
    expect(watched.records).toEqual([]);
  });
});

function watchedLists({ requests }: FakeKubernetes): number {
  return requests.filter(({ verb }) => verb === "list").length;
}
