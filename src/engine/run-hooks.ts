// Running a flow's on_cancellation and on_crashed hooks after its engine has gone without doing so: killed by the
// system, or of a release that cannot be told why it is being ended.
import { startProcess } from "../process/start-process.ts";
import { signalGroup } from "../process/terminate.ts";

/** Which hooks: those of a cancelled flow run, or those of a crashed one. */
export type HookKind = "cancellation" | "crashed";

/** How long the hooks wait for a server that is away; meanwhile a Python is up. */
const patienceSeconds = 600;

/** Loads the flow as an engine would, as soon as the server lets it, and calls its hooks one by one; works with every Prefect 3. */
const script = `
import asyncio, inspect, sys, time
import httpx
import prefect.main  # early releases define their models completely only here
from uuid import UUID
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_flow_run
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelling

async def load(flow_run_id):
    async with get_client() as client:
        flow_run = await client.read_flow_run(UUID(flow_run_id))
    flow = load_flow_from_flow_run(flow_run)
    if inspect.isawaitable(flow):
        flow = await flow
    return flow_run, flow

def is_transient(error):
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)

async def load_when_possible(flow_run_id):
    give_up_at = time.monotonic() + ${patienceSeconds}
    while True:
        try:
            return await load(flow_run_id)
        except httpx.HTTPError as error:
            if not is_transient(error) or time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(2)

async def main(kind, flow_run_id):
    flow_run, flow = await load_when_possible(flow_run_id)
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

/** A flow run whose hooks are to be run, where it ran. Flow run and state are the API's. */
export interface HookCall {
  kind: HookKind;
  flowRun: { readonly id: string };
  /** What the hooks get as the state. */
  state: { readonly type: string };
  cwd: string;
  env: Readonly<Record<string, string>>;
  streamOutput: boolean;
  /** Kills them. */
  leave: AbortSignal;
}

/** Runs the hooks by the script. `python` is what starts Python. Throws when the flow cannot be loaded. */
export async function runHooks(python: readonly string[], call: HookCall): Promise<void> {
  await runHookProcess([...python, "-c", script, call.kind, call.flowRun.id], call);
}

/** Runs the process that runs the hooks. Throws unless it ends with success. */
export async function runHookProcess(
  argv: readonly string[],
  surroundings: Pick<HookCall, "cwd" | "env" | "streamOutput" | "leave">,
): Promise<void> {
  const { cwd, env, streamOutput, leave } = surroundings;
  const child = await startProcess({ argv, cwd, env, streamOutput });
  const kill = (): void => void signalGroup(child.pid, "SIGKILL");
  leave.addEventListener("abort", kill);
  if (leave.aborted) kill();
  const exit = await child.exited;
  leave.removeEventListener("abort", kill);
  if (exit.code !== 0) throw new Error(`the hook process ended with ${exit.code ?? exit.signal}`);
}
