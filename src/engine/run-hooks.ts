// Running a flow's on_cancellation and on_crashed hooks after its engine has gone without doing so: killed by the
// system, or of a release that cannot be told why it is being ended.
import { startProcess } from "../process/start-process.ts";

/** Which hooks: those of a cancelled flow run, or those of a crashed one. */
export type HookKind = "cancellation" | "crashed";

/** Loads the flow as an engine would and calls its hooks one by one; works with every Prefect 3. */
const script = `
import asyncio, inspect, sys
import prefect.main  # early releases define their models completely only here
from uuid import UUID
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_flow_run
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelling

async def main(kind, flow_run_id):
    async with get_client() as client:
        flow_run = await client.read_flow_run(UUID(flow_run_id))
    flow = load_flow_from_flow_run(flow_run)
    if inspect.isawaitable(flow):
        flow = await flow
    cancelled = kind == "cancellation"
    hooks = flow.on_cancellation_hooks if cancelled else flow.on_crashed_hooks
    state = Cancelling(message="Flow run was cancelled.") if cancelled else flow_run.state
    log = flow_run_logger(flow_run, flow)
    for hook in hooks or []:
        name = getattr(hook, "__name__", repr(hook))
        try:
            log.info(f"Running hook {name!r} in response to entering state {state.name!r}")
            result = hook(flow, flow_run, state)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.error(f"An error was encountered while running hook {name!r}", exc_info=True)
        else:
            log.info(f"Hook {name!r} finished running successfully")

asyncio.run(main(*sys.argv[1:3]))
`;

/** Runs the hooks in the flow run's own directory and environment. Throws when the flow cannot be loaded. */
export async function runHooks(options: {
  python: string;
  kind: HookKind;
  flowRunId: string;
  cwd: string;
  env: Readonly<Record<string, string>>;
  streamOutput: boolean;
}): Promise<void> {
  const { python, kind, flowRunId, ...surroundings } = options;
  const child = await startProcess({ argv: [python, "-c", script, kind, flowRunId], ...surroundings });
  const exit = await child.exited;
  if (exit.code !== 0) throw new Error(`the hook process ended with ${exit.code ?? exit.signal}`);
}
