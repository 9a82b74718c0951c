// Which containers of a work pool are found and which are removed, with an engine that has kept many.
import { describe, expect, test } from "vitest";
import { type Answer, type FakeEngine, json, startFakeEngine } from "../support/fake-engine.ts";
import { waitFor } from "../support/wait-for.ts";
import { flowRunId, labelsOf, openFakeDocker, workPoolId } from "./fake-docker.ts";

const hoursAgo = (hours: number): number => Date.now() - hours * 3_600_000;

interface Container {
  id: string;
  state: string;
  createdMs: number;
  endedMs?: number;
  labels?: Record<string, string>;
}

/** An engine with these containers. It ignores the filter by label, as a proxy may. */
async function engineWith(containers: Container[]) {
  const listed: Answer = (response, request) => {
    const shown = containers.filter(({ state }) => state === "running" || request.query.get("all") === "true");
    json(
      shown.map(({ id, state, createdMs, labels = labelsOf() }) => ({
        ...{ Id: id, State: state, Labels: labels, Created: Math.floor(createdMs / 1000) },
      })),
    )(response, request);
  };
  const fake = await startFakeEngine({ "GET /containers/json": listed });
  for (const container of containers) {
    const { id, endedMs, labels = labelsOf() } = container;
    const finishedAt = endedMs === undefined ? "0001-01-01T00:00:00Z" : new Date(endedMs).toISOString();
    fake.answers[`GET /containers/${id}/json`] = (response, request) =>
      json({
        ...{ Id: id, Name: "/x", Config: { Labels: labels, Tty: false }, HostConfig: {} },
        State: { Status: container.state, ExitCode: 3, OOMKilled: false, Error: "", FinishedAt: finishedAt },
      })(response, request);
    fake.answers[`DELETE /containers/${id}`] = (response) => void response.writeHead(204).end();
  }
  return fake;
}

const idOf = (digit: number): string => String(digit).repeat(64);
const lists = ({ requests }: FakeEngine) =>
  requests.filter(({ path }) => path === "/containers/json").map(({ query }) => query.get("all"));

describe("the containers of a work pool", () => {
  test("that run are found each time, those that ended once, and all are listed only at first", async () => {
    const running = { id: idOf(1), state: "running", createdMs: hoursAgo(1) };
    const ended = { id: idOf(2), state: "exited", createdMs: hoursAgo(1), endedMs: hoursAgo(0.5) };
    const foreign = { id: idOf(3), state: "running", createdMs: hoursAgo(1), labels: labelsOf(flowRunId, "other") };
    await using fake = await engineWith([running, ended, foreign]);
    using docker = await openFakeDocker(fake);
    const find = async () =>
      (await docker.infrastructure.findStarted(workPoolId, {})).map(({ handle }) => handle.identifier.slice(-1));
    expect(await find()).toEqual(["1", "2"]);
    expect(await find()).toEqual(["1"]);
    expect(await find()).toEqual(["1"]);
    expect(lists(fake)).toEqual(["true", "false", "false"]);
  });

  test("are removed if no flow run waits for them and they were not started, also if that is known only then", async () => {
    const unstarted = { id: idOf(1), state: "created", createdMs: Date.now() };
    const startedMeanwhile = { id: idOf(2), state: "created", createdMs: Date.now() };
    const running = { id: idOf(3), state: "running", createdMs: Date.now() };
    await using fake = await engineWith([unstarted, startedMeanwhile, running]);
    using docker = await openFakeDocker(fake);
    const { infrastructure } = docker;
    const programs = await infrastructure.findStarted(workPoolId, {});
    expect(programs.map(({ mayHaveBegun }) => mayHaveBegun)).toEqual([false, false, true]);
    startedMeanwhile.state = "running";
    for (const program of programs.filter(({ mayHaveBegun }) => !mayHaveBegun)) await infrastructure.discard?.(program);
    const removed = fake.requests.filter(({ method }) => method === "DELETE").map(({ path }) => path);
    expect(removed).toEqual([`/containers/${idOf(1)}`]);
  });

  test("are removed if they ended longer ago than they are kept, or were not started for an hour, and foreign ones never", async () => {
    const old = { state: "exited", createdMs: hoursAgo(9), endedMs: hoursAgo(3) };
    await using fake = await engineWith([
      { id: idOf(1), ...old },
      { id: idOf(2), ...old, endedMs: hoursAgo(1) },
      { id: idOf(3), ...old, state: "running" },
      { id: idOf(4), ...old, labels: {} },
      { id: idOf(5), ...old, labels: labelsOf(flowRunId, "other") },
      { id: idOf(6), state: "created", createdMs: hoursAgo(1.1) },
      { id: idOf(9), state: "created", createdMs: hoursAgo(0.9) },
      { id: idOf(7), state: "dead", createdMs: hoursAgo(3), endedMs: hoursAgo(2.1) },
      { id: idOf(8), state: "exited", createdMs: hoursAgo(1.9), endedMs: hoursAgo(1.8) },
    ]);
    using docker = await openFakeDocker(fake, { LICTOR_DOCKER_KEEP_HOURS: "2" });
    await docker.infrastructure.findStarted(workPoolId, {});
    await docker.infrastructure.findStarted(workPoolId, {});
    const removed = fake.requests.filter(({ method }) => method === "DELETE");
    expect(removed.map(({ path }) => path.slice(-1)).sort()).toEqual(["1", "6", "7"]);
  });

  test("that run again after they had ended are not removed", async () => {
    const container = { id: idOf(1), state: "exited", createdMs: hoursAgo(9), endedMs: hoursAgo(3) };
    await using fake = await engineWith([container]);
    using docker = await openFakeDocker(fake, { LICTOR_DOCKER_KEEP_HOURS: "2" });
    await docker.infrastructure.findStarted(workPoolId, {});
    container.state = "running";
    await docker.infrastructure.findStarted(workPoolId, {});
    expect(fake.requests.filter(({ method }) => method === "DELETE")).toEqual([]);
  });
});

test("a container whose end brought no event is noticed in a list of those that run", async () => {
  const container = { id: idOf(1), state: "running", createdMs: hoursAgo(1) };
  await using fake = await engineWith([container]);
  let isOpen = false;
  fake.answers["GET /events"] = (response) => {
    response.writeHead(200).flushHeaders();
    isOpen = true;
    // The stream ends without an event about the container.
    setTimeout(() => response.end(), 100);
  };
  using docker = await openFakeDocker(fake);
  const handle = { poolType: "docker", identifier: `http+docker://localhost:${idOf(1)}`, proof: {} };
  await using execution = await docker.infrastructure.adopt(handle, docker.options);
  await waitFor(() => isOpen, { timeoutMs: 5_000, what: "the stream of events" });
  container.state = "exited";
  expect(await execution?.ended).toMatchObject({ kind: "exited", status: 3 });
  expect(new Set(lists(fake))).toEqual(new Set(["false"]));
});
