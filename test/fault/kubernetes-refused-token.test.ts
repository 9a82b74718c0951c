// A cluster that does not accept the credentials of the worker for a while, for example until its token has been replaced.
import { expect, test } from "vitest";
import { waitFor } from "../support/wait-for.ts";
import { openFakePool, soon } from "./fake-kubernetes-pool.ts";

test("a flow run is not claimed while the credentials are refused, and a claimed one waits for new ones", async () => {
  await using pool = await openFakePool();
  const readJob = () => pool.jobOf();
  const { cluster, infrastructure, options, records } = pool;
  expect(await infrastructure.obstacle(readJob)).toBeNull();
  cluster.tokens = new Set(["another"]);
  const said = () => records.map(({ msg }) => msg).filter((text) => text.includes("does not accept"));
  const starting = infrastructure.start(await pool.jobOf(), options);
  await waitFor(() => said().length > 0, { ...soon, what: "a warning" });
  expect(await infrastructure.obstacle(readJob)).toMatch(/does not accept the credentials of the context 'fake'/);
  expect(said()).toEqual([expect.stringMatching(/: 401\) Flow runs stay as they are until it accepts them\.$/)]);

  cluster.tokens = null;
  await using _execution = await starting;
  expect(await pool.jobs()).toHaveLength(1);
  expect(await infrastructure.obstacle(readJob)).toBeNull();
});

test("a flow run that is cancelled while the credentials are refused is not waited for", async () => {
  await using pool = await openFakePool();
  pool.cluster.tokens = new Set(["another"]);
  const stop = new AbortController();
  const starting = pool.infrastructure.start(await pool.jobOf(), { ...pool.options, signal: stop.signal });
  const reason = new Error("cancelled");
  await waitFor(() => pool.cluster.requests.some(({ method }) => method === "POST"), { ...soon, what: "a creation" });
  stop.abort(reason);
  await expect(starting).rejects.toBe(reason);
});
