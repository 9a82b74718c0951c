// Flows: functions that a lictor worker runs as flow runs, and that can be called like any function.
import { linkTo, untilAborted } from "./abort.ts";
import { checkFlow } from "./check-options.ts";
import { type Current, current, runIn } from "./current.ts";
import { define } from "./main.ts";
import { completeParameters } from "./parameters.ts";
import type { DefinedFlow } from "./run-to-end.ts";
import { countAsRunning } from "./running.ts";
import type { Flow, FlowOptions, ParameterDefinitions, ParameterValues, RunContext } from "./types.ts";

/**
 * Defines a flow. `options` may be its name. When a worker runs the module, the flow of the flow run begins after the module
 * has defined its flows. A direct call runs it in the caller's flow run, or without a server. Throws a TypeError for an option
 * that cannot be used, and an Error if another flow has the name.
 */
export function flow<const P extends ParameterDefinitions = Record<never, never>, Result = unknown>(
  options: FlowOptions<P> | string,
  act: (parameters: ParameterValues<P>, context: RunContext) => Result | Promise<Result>,
): Flow<P, Result> {
  const settings: FlowOptions<P> = typeof options === "string" ? { name: options } : options;
  checkFlow(settings, act);
  const { name, parameters: definitions = {}, timeoutSeconds } = settings;
  const execute: DefinedFlow["execute"] = async (given, caller, { isTimed }) => {
    const values = completeParameters(definitions, given) as ParameterValues<P>;
    using limit = linkTo(caller.signal);
    if (isTimed && timeoutSeconds !== undefined) {
      const message = `Flow run exceeded timeout of ${timeoutSeconds} second(s)`;
      limit.abortAfter(timeoutSeconds * 1000, () => new Error(message));
    }
    const context: Current = { ...caller, signal: limit.signal };
    return await runIn(context, async () => {
      const { flowRunId, taskRunId, attempt, signal } = context;
      const run = async (): Promise<unknown> => await act(values, { flowRunId, taskRunId, attempt, signal });
      return await Promise.race([countAsRunning(run()), untilAborted(signal)]);
    });
  };
  const defined: DefinedFlow = { options: settings, execute };
  define(defined);
  const call = async (given: Readonly<Record<string, unknown>> = {}): Promise<Result> =>
    (await execute(given, current(), { isTimed: true })) as Result;
  return Object.assign(call, { flowName: name }) as unknown as Flow<P, Result>;
}
