// The light signals of the simulation behave as those of Node.js.
import { getEventListeners, setMaxListeners } from "node:events";
import { expect, test } from "vitest";
import { LightController } from "./light-signals.ts";
import { runSeeds } from "./seeds.ts";
import { SeedsProcess } from "./seeds-process.ts";

type AnyController = { new (): Pick<AbortController, "signal" | "abort"> };
const kinds: readonly AnyController[] = [AbortController, LightController as unknown as AnyController];

/** Each row returns what it saw. */
const rows: { name: string; see: (Controller: AnyController) => unknown }[] = [
  {
    name: "listeners run in their order, once each, with the reason",
    see: (Controller) => {
      const { controller, signal, calls, on } = createWatched(Controller);
      for (const name of ["a", "b", "c"]) signal.addEventListener("abort", on(name));
      controller.abort("why");
      controller.abort("again");
      return [calls, signal.reason, signal.aborted];
    },
  },
  {
    name: "a listener that is added twice runs once",
    see: (Controller) => {
      const { controller, signal, calls, on } = createWatched(Controller);
      const twice = on("twice");
      signal.addEventListener("abort", twice);
      signal.addEventListener("abort", twice);
      controller.abort();
      return calls;
    },
  },
  {
    name: "a listener that another one removes does not run, nor does one that is added meanwhile",
    see: (Controller) => {
      const { controller, signal, calls, on } = createWatched(Controller);
      const removed = on("removed");
      signal.addEventListener("abort", () => {
        signal.removeEventListener("abort", removed);
        signal.addEventListener("abort", on("late"));
      });
      signal.addEventListener("abort", removed);
      controller.abort();
      return [calls, getEventListeners(signal, "abort").length];
    },
  },
  {
    name: "only a listener with `once` is gone afterwards",
    see: (Controller) => {
      const { controller, signal, on } = createWatched(Controller);
      setMaxListeners(0, signal);
      signal.addEventListener("abort", on("once"), { once: true });
      signal.addEventListener("abort", on("stays"));
      controller.abort();
      return getEventListeners(signal, "abort").length;
    },
  },
  {
    name: "the usual reason is an AbortError, and only an aborted signal throws",
    see: (Controller) => {
      const { controller, signal } = createWatched(Controller);
      signal.throwIfAborted();
      controller.abort();
      const reason = signal.reason as DOMException;
      let thrown: unknown;
      try {
        signal.throwIfAborted();
      } catch (error) {
        thrown = error;
      }
      return [reason.name, reason.message, thrown === reason];
    },
  },
];

test.each(rows)("$name", ({ see }) => {
  const [real, light] = kinds.map(see);
  expect(light).toEqual(real);
});

test("a seed gives the same world with both kinds of signals", async () => {
  await using processOfSeeds = await SeedsProcess.start();
  const range = { first: 200, last: 229 };
  expect(await processOfSeeds.run(range)).toEqual(await runSeeds(range.first, range.last));
});

function createWatched(Controller: AnyController) {
  const controller = new Controller();
  const calls: string[] = [];
  const on = (name: string) => () => void calls.push(name);
  return { controller, signal: controller.signal, calls, on };
}
