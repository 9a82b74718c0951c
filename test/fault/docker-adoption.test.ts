// What becomes of the containers of dead workers, with an engine that is another one than before.
import { describe, expect, test } from "vitest";
import { failure, json, startFakeEngine } from "../support/fake-engine.ts";
import { labelsOf, openFakeDocker, workPoolId } from "./fake-docker.ts";

const id = "c".repeat(64);
const handleOf = (daemonId: string | null, isCreated = true) => ({
  poolType: "docker",
  identifier: isCreated ? `http+docker://localhost:${id}` : "",
  proof: { attempt: ["ours"], daemonId },
});

const engineWith = (info: Parameters<typeof startFakeEngine>[0] = {}) =>
  startFakeEngine({ "GET /containers/json": json([]), ...info });

describe("a container that is not on this engine", () => {
  test.each([
    ["was created", true],
    ["was about to be created", false],
  ])("and that %s on another one is left alone, with one warning", async (_, isCreated) => {
    await using fake = await engineWith({ "GET /info": json({ ID: "this" }) });
    using docker = await openFakeDocker(fake);
    const { infrastructure, options, warnings } = docker;
    expect(await infrastructure.adopt(handleOf("before", isCreated), options)).toBeNull();
    expect(warnings()).toEqual([
      `The Docker engine at ${fake.host} is not the one that the flow run was started on (this instead of before), so its container is not here. A worker of this pool with that DOCKER_HOST continues it.`,
    ]);
  });

  test("and whose end an earlier worker saw is adopted, because the end is still to be reported", async () => {
    await using fake = await engineWith({ "GET /info": json({ ID: "this" }) });
    using docker = await openFakeDocker(fake);
    const options = { ...docker.options, hasEnded: true };
    expect(await docker.infrastructure.adopt(handleOf("before"), options)).not.toBeNull();
  });

  test.each([
    ["is the same", "before", json({ ID: "before" })],
    ["says no id", "before", failure(403, "not allowed")],
    ["was not asked before", null, json({ ID: "this" })],
  ])("is gone if the engine %s", async (_, before, info) => {
    await using fake = await engineWith({ "GET /info": info });
    using docker = await openFakeDocker(fake);
    const execution = await docker.infrastructure.adopt(handleOf(before), docker.options);
    expect(await execution?.ended).toMatchObject({ kind: "gone", mayHaveBegun: true });
  });

  test("is gone if the engine is Podman, which has another id each time", async () => {
    const version = { Version: "5.0", ApiVersion: "1.41", Components: [{ Name: "Podman Engine" }] };
    await using fake = await engineWith({ "GET /version": json(version), "GET /info": json({ ID: "this" }) });
    using docker = await openFakeDocker(fake);
    const execution = await docker.infrastructure.adopt(handleOf("before"), docker.options);
    expect(await execution?.ended).toMatchObject({ kind: "gone" });
  });
});

test("a container that was never started is removed after its end was reported, and not before", async () => {
  const created = { Id: id, Name: "/x", State: { Status: "created" }, Config: { Labels: labelsOf() }, HostConfig: {} };
  await using fake = await engineWith({
    [`GET /containers/${id}/json`]: json(created),
    [`DELETE /containers/${id}`]: (response) => void response.writeHead(204).end(),
  });
  using docker = await openFakeDocker(fake);
  const removals = () => fake.requests.filter(({ method }) => method === "DELETE").length;
  for (const count of [0, 1]) {
    // The second worker comes after the first one was killed before its report.
    const execution = await docker.infrastructure.adopt(handleOf(null), docker.options);
    expect(await execution?.ended).toMatchObject({ kind: "gone", mayHaveBegun: false });
    expect(removals()).toBe(0);
    if (count === 1) await execution?.[Symbol.asyncDispose]();
  }
  expect(removals()).toBe(1);
});

test.each([
  ["may have begun if its container was prepared", 200, true],
  ["has not begun if its container was not prepared", 404, false],
])("a program whose worker and engine died during its start %s", async (_, status, mayHaveBegun) => {
  const labels = { ...labelsOf(), "io.lictor.executes-itself": "false" };
  const created = {
    ...{ Id: id, Created: "2026-01-01T00:00:00Z", Name: "/x", State: { Status: "created" } },
    ...{ Config: { Labels: labels }, HostConfig: { Tmpfs: { "/.lictor": "ro,size=4k" } } },
  };
  await using fake = await engineWith({
    [`GET /containers/${id}/json`]: json(created),
    "GET /containers/json": json([{ Id: id, State: "created", Labels: labels, Created: 0 }]),
    "GET /events": (response) => void response.writeHead(200).end(),
    [`HEAD /containers/${id}/archive`]: (response) => void response.writeHead(status).end(),
    [`DELETE /containers/${id}`]: (response) => void response.writeHead(204).end(),
  });
  using docker = await openFakeDocker(fake);
  const handle = handleOf(null);
  const proof = { ...handle.proof, executesItself: false };
  await using execution = await docker.infrastructure.adopt({ ...handle, proof }, docker.options);
  expect(await execution?.ended).toMatchObject({ kind: "gone", mayHaveBegun });
  // Another worker sees the same without the journal.
  expect(await docker.infrastructure.findStarted(workPoolId, {})).toMatchObject([{ mayHaveBegun }]);
});

test("the journal knows the engine before the container exists, and after", async () => {
  const details = { Id: id, Name: "/x", State: { Status: "running" }, Config: { Labels: {} }, HostConfig: {} };
  await using fake = await engineWith({
    "GET /info": json({ ID: "this" }),
    "POST /containers/create": json({ Id: id }),
    [`GET /containers/${id}/json`]: json(details),
    [`POST /containers/${id}/start`]: (response) => void response.writeHead(204).end(),
  });
  using docker = await openFakeDocker(fake);
  await using _execution = await docker.infrastructure.start(
    docker.jobOf({ image_pull_policy: "Never" }),
    docker.options,
  );
  expect(docker.handles.map(({ identifier, proof }) => [identifier, proof.daemonId])).toEqual([
    ["", "this"],
    [`http+docker://localhost:${id}`, "this"],
  ]);
});
