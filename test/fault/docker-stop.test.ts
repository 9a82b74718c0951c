// The end of cancelled containers, on a clock whose timers are a hundred times as fast.
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Clock, replaceClock } from "../../src/async/clock.ts";
import { json, startFakeEngine } from "../support/fake-engine.ts";
import { labelsOf, openFakeDocker } from "./fake-docker.ts";
import { untilTheEnd } from "./test-socket.ts";

const speed = 100;
const fast: Clock = {
  monotonicMs: () => performance.now() * speed,
  wallClockMs: () => performance.timeOrigin + performance.now(),
  startTimer(ms, callback) {
    const timer = setTimeout(callback, ms / speed);
    return () => clearTimeout(timer);
  },
  // Requests to the engine have their own time.
  timeoutSignal: (ms) => AbortSignal.timeout(ms),
};

const id = "c".repeat(64);

/** A running container of `prefect flow-run execute`, or of another program. It ends when the engine stops it. */
async function startContainer(executesItself: boolean) {
  const state = { Status: "running", ExitCode: 0, OOMKilled: false, Error: "", FinishedAt: "" };
  const Labels = { ...labelsOf(), "io.lictor.executes-itself": String(executesItself) };
  const details = { Id: id, Name: "/x", State: state, Config: { Labels, Tty: false }, HostConfig: {} };
  const events: ((line: string) => void)[] = [];
  const tell = (Action: string, Attributes: Record<string, string> = {}): void => {
    for (const send of events)
      send(`${JSON.stringify({ Type: "container", Action, Actor: { ID: id, Attributes } })}\n`);
  };
  const endSilently = (exitCode: number): void => {
    Object.assign(state, { Status: "exited", ExitCode: exitCode });
  };
  const end = (exitCode: number): void => {
    endSilently(exitCode);
    tell("die", { exitCode: String(exitCode) });
  };
  const stops: { grace: string | null; afterMs: number }[] = [];
  const begunAt = performance.now();
  const fake = await startFakeEngine({
    [`GET /containers/${id}/json`]: (response, request) => json(details)(response, request),
    "GET /containers/json": json([{ Id: id, State: "running", Labels, Created: 0 }]),
    "GET /events": (response) => {
      response.writeHead(200).flushHeaders();
      events.push((line) => response.write(line));
    },
    [`GET /containers/${id}/logs`]: (response) => void response.writeHead(200).end(),
    [`POST /containers/${id}/stop`]: (response, { query }) => {
      stops.push({ grace: query.get("t"), afterMs: (performance.now() - begunAt) * speed });
      end(137);
      response.writeHead(204).end();
    },
  });
  const docker = await openFakeDocker(fake);
  const handle = { poolType: "docker", identifier: `http+docker://localhost:${id}`, proof: {} };
  const execution = await docker.infrastructure.adopt(handle, docker.options);
  if (execution === null) throw new Error("the container was not adopted");
  return {
    execution,
    stops,
    end,
    endSilently,
    tell,
    async [Symbol.asyncDispose]() {
      await execution[Symbol.asyncDispose]();
      docker[Symbol.dispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}

const limits = { kill: untilTheEnd, leave: untilTheEnd };

describe("a cancelled container", () => {
  test("of `prefect flow-run execute` that hangs is stopped after 60 s, with 30 s of grace", async () => {
    using _clock = replaceClock(fast);
    await using container = await startContainer(true);
    expect(await container.execution.stop("cancel", limits)).toBe("stopped");
    expect(container.stops).toEqual([{ grace: "30", afterMs: expect.any(Number) }]);
    expect(container.stops[0]?.afterMs).toBeGreaterThanOrEqual(60_000);
    expect(await container.execution.ended).toMatchObject({ kind: "exited", status: 137 });
  });

  test("of `prefect flow-run execute` that ends itself is not stopped", async () => {
    using _clock = replaceClock(fast);
    await using container = await startContainer(true);
    setTimeout(() => container.end(0), 100);
    expect(await container.execution.stop("cancel", limits)).toBe("stopped");
    expect(container.stops).toEqual([]);
  });

  test("of `prefect flow-run execute` is stopped at once, without grace, when the worker is ended", async () => {
    await using container = await startContainer(true);
    const leave = AbortSignal.abort();
    expect(await container.execution.stop("cancel", { kill: leave, leave })).toBe("stopped");
    expect(container.stops).toMatchObject([{ grace: "0" }]);
  });

  test("of another program is stopped at once", async () => {
    await using container = await startContainer(false);
    expect(await container.execution.stop("cancel", limits)).toBe("stopped");
    expect(container.stops).toMatchObject([{ grace: "30" }]);
  });
});

test("a container is out of memory although the engine says so after it has said that the container ended", async () => {
  await using container = await startContainer(false);
  await pause(300);
  container.end(137);
  await pause(700);
  container.tell("oom");
  const ending = await container.execution.ended;
  expect(ending).toMatchObject({ kind: "exited", status: 137, why: expect.stringContaining("(OOMKilled)") });
});

test("a container that has ended is not stopped, although the news of its end has not arrived", async () => {
  await using container = await startContainer(false);
  container.endSilently(0);
  expect(await container.execution.stop("kill", limits)).toBe("had ended");
  expect(container.stops).toEqual([]);
  container.tell("die", { exitCode: "0" });
  expect(await container.execution.ended).toMatchObject({ kind: "exited", status: 0 });
});
