// The Python program that runs the hooks of a flow in place of its engine.

/** How long the script retries during an outage. Its Python process runs for as long. */
const outageSeconds = 600;
/** How long it retries if no server has responded at this address yet, because the address may be wrong. */
const unknownServerSeconds = 5;
/** The timeout of a request to such a server. */
const unknownServerTimeoutSeconds = 15;

/**
 * Takes three arguments: "cancellation" or "crashed", the flow run's id, and "known" if the worker reaches the server in
 * the same way. It loads the flow as an engine does and calls its hooks one by one. It works with every Prefect 3.
 *
 * Permanent failures end it at once: an untrusted certificate, or a host name that does not exist. A refused connection
 * can mean that the server restarts, or that the address is wrong. It is retried for minutes only if the worker or this
 * process has reached the server at that address.
 */
export const hookScript: string = `
import asyncio, inspect, socket, ssl, sys, time
import httpx
import prefect.main  # early releases define their models completely only here
from uuid import UUID
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_flow_run
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelling

server_is_known = sys.argv[3:4] == ["known"]

async def read(client, flow_run_id):
    global server_is_known
    reading = client.read_flow_run(UUID(flow_run_id))
    try:
        flow_run = await asyncio.wait_for(reading, None if server_is_known else ${unknownServerTimeoutSeconds})
    except asyncio.TimeoutError:
        raise httpx.ConnectTimeout("no answer") from None
    except httpx.HTTPStatusError:
        server_is_known = True
        raise
    server_is_known = True
    return flow_run

async def load(flow_run_id):
    async with get_client() as client:
        flow_run = await read(client, flow_run_id)
    flow = load_flow_from_flow_run(flow_run)
    if inspect.isawaitable(flow):
        flow = await flow
    return flow_run, flow

def causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

def is_permanent(error):
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
    return isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN

def is_transient(error):
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError) and not any(map(is_permanent, causes(error)))

async def load_when_possible(flow_run_id):
    started_at = time.monotonic()
    while True:
        try:
            return await load(flow_run_id)
        except httpx.HTTPError as error:
            limit = ${outageSeconds} if server_is_known else ${unknownServerSeconds}
            if not is_transient(error) or time.monotonic() - started_at > limit:
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

/** The variables that decide how a Python process reaches the API. */
const routeVariables = ["PREFECT_API_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [
  name,
  name.toLowerCase(),
]);

/**
 * Returns whether processes with the environments `env` and `other` reach the API by the same URL and the same proxies.
 * Then a server that responds to one process also responds to the other. Returns false without a URL.
 */
export function reachesSameServer(
  env: Readonly<Record<string, string | undefined>>,
  other: Readonly<Record<string, string | undefined>>,
): boolean {
  return env.PREFECT_API_URL !== undefined && routeVariables.every((name) => env[name] === other[name]);
}
