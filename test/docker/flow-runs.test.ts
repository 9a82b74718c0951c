// Real flow runs: Prefect's engine in containers of a real container engine, beside the reference's docker worker.
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { whyNoEngine } from "../support/docker-engine.ts";
import { hostVolumes } from "../support/engine-images.ts";
import { type RunningProgram, startLictor } from "../support/lictor.ts";
import { ensureDockerWorker } from "../support/python-environment.ts";
import {
  containerEvents,
  containersOf,
  type DockerPool,
  endOf,
  eventsOf,
  FLOW_TIMEOUT_MS,
  newDockerPool,
  runFlow,
  startDockerWorker,
  useServedPool,
  waitForContainer,
} from "./docker-pool.ts";

const missing = await whyNoEngine();

describe.skipIf(missing)("a flow run in a container", { timeout: 600_000 }, () => {
  const docker = useServedPool();

  test.concurrent("that completes is reported by its engine alone", async () => {
    const id = await runFlow(docker.pool, "hello");
    const { states } = await endOf(docker.pool, id, "COMPLETED");
    expect(states).toEqual(["Scheduled", "Pending", "Submitting", "Running", "Completed"]);
    const events = await eventsOf(docker.pool, id, "prefect.worker.executed-flow-run");
    expect(events.map(({ event }) => event)).toEqual(containerEvents);
    await docker.worker.waitForOutput(/Hello, world!/, 10_000);
  });

  test.concurrent("that fails is Failed", async () => {
    expect((await endOf(docker.pool, await runFlow(docker.pool, "fail"), "FAILED")).message).toContain(
      "this flow always fails",
    );
  });

  test.concurrent("that is cancelled ends itself", async () => {
    const id = await runFlow(docker.pool, "sleep", { parameters: { seconds: 600 } });
    await docker.pool.api.waitForState(id, ["RUNNING"], FLOW_TIMEOUT_MS);
    await docker.pool.api.setState(id, "CANCELLING");
    await endOf(docker.pool, id, "CANCELLED");
    await waitForContainer(docker.pool, id, "exited");
  });

  test.concurrent("whose own program hangs is stopped after its grace time", async () => {
    // The first words are those of a program that cancels itself.
    const command = `sh -c "prefect() { trap '' TERM; while true; do sleep 1; done; }; prefect"`;
    const id = await runFlow(docker.pool, "hello", { command, volumes: await hostVolumes() });
    const container = await waitForContainer(docker.pool, id);
    await docker.pool.api.setState(id, "CANCELLING");
    await endOf(docker.pool, id, "CANCELLED");
    const { body } = await docker.engine.request<{ State: { ExitCode: number } }>(
      "GET",
      `/containers/${container}/json`,
    );
    expect(body.State.ExitCode).toBe(137);
  });

  test("has the same container, labels, states and events with the reference's docker worker", async () => {
    const both: Record<string, object> = {};
    const variables: JsonObject = { labels: { "team.example/x": "y" }, env: { A: "b" }, mem_limit: "1g" };
    for (const kind of ["lictor", "reference"]) {
      const other = await newDockerPool(docker.engine);
      await using _worker = await (kind === "lictor" ? startDockerWorker(other, { name: "w" }) : startReference(other));
      const id = await runFlow(other, "exit_three", { ...variables, name: `same-${kind}` });
      const { states, message } = await endOf(other, id, "CRASHED");
      const events = await eventsOf(other, id, "prefect.worker.executed-flow-run");
      const [container] = await containersOf(other, id);
      const { body } = await docker.engine.request<JsonObject>("GET", `/containers/${container?.Id}/json`);
      both[kind] = comparable({ states, message, body, events }, [
        id,
        other.name,
        other.id,
        container?.Id ?? "",
        `same-${kind}`,
      ]);
    }
    expect(both.lictor).toEqual(both.reference);
  });

  async function startReference(other: DockerPool): Promise<RunningProgram> {
    const { python } = await ensureDockerWorker(console.error);
    const args = ["-m", "prefect", "worker", "start", "--pool", other.name, "--name", "w", "--type", "docker"];
    const started = await startLictor([], {
      command: [python, ...args],
      env: { PREFECT_API_URL: inject("apiUrl"), DOCKER_HOST: docker.engine.host },
    });
    await started.waitForOutput(/Worker 'w' started!/, 120_000);
    return started;
  }
});

/** Replaces what differs in every run, and leaves out what only lictor adds. */
function comparable(
  { states, message, body, events }: { states: string[]; message: unknown; body: JsonObject; events: object[] },
  ids: readonly string[],
): object {
  const config = body.Config as JsonObject & { Labels: Record<string, string>; Env: string[] };
  const labels = Object.entries(config.Labels).filter(([key]) => !key.startsWith("io.lictor."));
  const { HostConfig } = body;
  const env = config.Env.filter((variable) => !/^(PREFECT_HOME|PREFECT_PROFILES_PATH)=/.test(variable)).sort();
  const own = { ...config, Labels: Object.fromEntries(labels.sort()), Env: env, Hostname: "", Domainname: "" };
  const facts = { states, message, config: own, host: HostConfig, events: events.map(comparableEvent) };
  const text = ids.filter((id) => id !== "").reduce((all, id) => all.replaceAll(id, "<id>"), JSON.stringify(facts));
  // The deployments of both were made at different times.
  return JSON.parse(
    text
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, "<uuid>")
      .replace(/"[a-z]+-[a-z]+"/g, '"<name>"')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+\+00:00/g, "<time>"),
  );
}

function comparableEvent(event: object): object {
  const { event: name, resource, related } = event as { event: string; resource: JsonObject; related: JsonObject[] };
  const kept = related.map((each) => each["prefect.resource.role"]).sort();
  return { name, resource: Object.keys(resource).sort(), related: kept };
}
