// What Podman answers in another way than Docker. The answers are those of Podman 4.3.
import type { ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Answer, failure, frame, json, startFakeEngine } from "../support/fake-engine.ts";
import { waitFor } from "../support/wait-for.ts";
import { labelsOf, openFakeDocker } from "./fake-docker.ts";

const id = "c".repeat(64);
const version = { Version: "4.3.1", ApiVersion: "1.41", Components: [{ Name: "Podman Engine", Version: "4.3.1" }] };

/** Podman with one container, which starts and runs until `end` is called. */
async function startFakePodman(answers: Record<string, Answer> = {}) {
  const state = { Status: "created", ExitCode: 0, OOMKilled: false, Error: "", FinishedAt: "" };
  const details = { Id: id, Name: "/x", State: state, Config: { Labels: labelsOf(), Tty: false }, HostConfig: {} };
  const listeners: ServerResponse[] = [];
  const fake = await startFakeEngine({
    "GET /version": json(version),
    "POST /containers/create": json({ Id: id, Warnings: [] }, 201),
    "GET /containers/json": (response, request) =>
      json(state.Status === "running" ? [{ Id: id, State: "running", Labels: labelsOf(), Created: 0 }] : [])(
        response,
        request,
      ),
    [`GET /containers/${id}/json`]: (response, request) => json(details)(response, request),
    [`POST /containers/${id}/start`]: (response) => {
      state.Status = "running";
      response.writeHead(204).end();
    },
    [`GET /containers/${id}/logs`]: (response) => void response.writeHead(200).end(),
    "GET /events": (response) => {
      response.writeHead(200).flushHeaders();
      listeners.push(response);
    },
    ...answers,
  });
  const tell = (Action: string, Attributes: Record<string, string>): void => {
    const event = { status: Action, id, Type: "container", Action, Actor: { ID: id, Attributes } };
    for (const listener of listeners) listener.write(`${JSON.stringify(event)}\n`);
  };
  return Object.assign(fake, {
    state,
    tell,
    isWatched: () => waitFor(() => listeners.length > 0, { timeoutMs: 5_000, what: "the stream of events" }),
  });
}

describe("Podman", () => {
  test("is not asked for events with a label of any value, because none would come", async () => {
    await using fake = await startFakePodman();
    using docker = await openFakeDocker(fake);
    await using execution = await docker.infrastructure.start(
      docker.jobOf({ image_pull_policy: "Never" }),
      docker.options,
    );
    await fake.isWatched();
    const { query } = fake.requests.find(({ path }) => path === "/events") ?? {};
    expect(JSON.parse(query?.get("filters") ?? "")).toEqual({ type: ["container"] });
    await pause(300);
    Object.assign(fake.state, { Status: "exited", ExitCode: 4 });
    fake.tell("die", { containerExitCode: "4", exitCode: "4" });
    expect(await execution.ended).toMatchObject({ kind: "exited", status: 4 });
  });

  test("says in its event about a removal that the exit code is 0, and the one before counts", async () => {
    await using fake = await startFakePodman();
    using docker = await openFakeDocker(fake);
    await using execution = await docker.infrastructure.start(
      docker.jobOf({ image_pull_policy: "Never", auto_remove: true }),
      docker.options,
    );
    await fake.isWatched();
    await pause(300);
    fake.answers[`GET /containers/${id}/json`] = failure(
      404,
      `no container with name or ID "${id}" found: no such container`,
    );
    fake.tell("died", { containerExitCode: "5" });
    fake.tell("remove", { containerExitCode: "0" });
    expect(await execution.ended).toMatchObject({ kind: "exited", status: 5 });
  });

  test("gives lines whole seconds, and each one is passed on once, also after its service was away", async () => {
    const all = ["one", "two", "three", "four", "five"];
    let reads = 0;
    const logs: Answer = (response, { query }) => {
      reads += 1;
      const second = Number(query.get("since"));
      const lines = all.slice(0, reads + 2).map((text) => frame(1, `2026-01-02T03:04:05Z ${text}\n`));
      if (second > Date.parse("2026-01-02T03:04:05Z") / 1000) lines.length = 0;
      response.writeHead(200);
      if (reads < 3) response.write(Buffer.concat(lines), () => setTimeout(() => response.socket?.destroy(), 50));
      else {
        Object.assign(fake.state, { Status: "exited", ExitCode: 3 });
        response.end(Buffer.concat(lines));
      }
    };
    await using fake = await startFakePodman({ [`GET /containers/${id}/logs`]: logs });
    using docker = await openFakeDocker(fake);
    const lines: string[] = [];
    await using execution = await docker.infrastructure.start(docker.jobOf({ image_pull_policy: "Never" }), {
      ...docker.options,
      onLine: ({ text }) => void lines.push(text),
    });
    await waitFor(() => lines.length >= all.length, { timeoutMs: 10_000, what: "all lines" });
    fake.tell("die", { containerExitCode: "3", exitCode: "3" });
    expect(await execution.ended).toMatchObject({ status: 3 });
    expect(lines).toEqual(all);
  });

  test("an adopted container's lines of the last second are not repeated", async () => {
    const frames = (texts: readonly string[]) =>
      Buffer.concat(texts.map((text) => frame(1, `2026-01-02T03:04:05Z ${text}\n`)));
    const logs: Answer = (response, { query }) => {
      const texts =
        query.get("tail") === "1" ? ["two"] : query.has("follow") ? ["one", "two", "three"] : ["one", "two"];
      response.writeHead(200);
      if (query.has("follow")) response.write(frames(texts));
      else response.end(frames(texts));
    };
    await using fake = await startFakePodman({ [`GET /containers/${id}/logs`]: logs });
    fake.state.Status = "running";
    using docker = await openFakeDocker(fake);
    const lines: string[] = [];
    const handle = { poolType: "docker", identifier: `http+docker://localhost:${id}`, proof: {} };
    const options = { ...docker.options, onLine: ({ text }: { text: string }) => void lines.push(text) };
    await using _execution = await docker.infrastructure.adopt(handle, options);
    await waitFor(() => lines.length > 0, { timeoutMs: 10_000, what: "a line" });
    expect(lines).toEqual(["three"]);
  });

  test("says in its own words that a name is taken, and that a network is joined", async () => {
    await using fake = await startFakePodman();
    const create = fake.answers["POST /containers/create"] as Answer;
    fake.answers["POST /containers/create"] = (response, request) =>
      request.query.get("name") === "n"
        ? failure(
            500,
            `container create: creating container storage: the container name "n" is already in use by ${id}. You have to remove that container to be able to reuse that name: that name is already in use`,
          )(response, request)
        : create(response, request);
    fake.answers["GET /networks/two"] = json({ Id: "n2", Name: "two" });
    fake.answers["POST /networks/n2/connect"] = failure(
      500,
      `container ${id} is already connected to network "two": network is already connected`,
    );
    using docker = await openFakeDocker(fake);
    const job = docker.jobOf({ image_pull_policy: "Never", name: "n", networks: ["one", "two"] });
    await using _execution = await docker.infrastructure.start(job, docker.options);
    const names = fake.requests
      .filter(({ path }) => path === "/containers/create")
      .map(({ query }) => query.get("name"));
    expect(names).toEqual(["n", "n-1"]);
  });

  test("says 500 for a container that is missing, and then nothing is left to remove", async () => {
    await using fake = await startFakePodman({
      [`POST /containers/${id}/start`]: failure(
        500,
        'runc: runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found',
      ),
      [`DELETE /containers/${id}`]: failure(500, `no container with ID ${id} found in database: no such container`),
    });
    using docker = await openFakeDocker(fake);
    const start = docker.infrastructure.start(docker.jobOf({ image_pull_policy: "Never" }), docker.options);
    await expect(start).rejects.toThrow(/Container could not be started: .*"nope": executable file not found/);
    expect(docker.warnings()).toEqual([]);
  });
});
