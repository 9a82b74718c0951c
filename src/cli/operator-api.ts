// The API for commands that a person waits for.
import type { Api } from "../api/api.ts";
import { causeOfLostConnection } from "../api/causes.ts";
import { UnreachableError } from "../api/errors.ts";
import { openApi } from "./open-api.ts";
import type { ProgramContext } from "./program-context.ts";

/** Below a second, a line would only flicker. */
const shownAfterMs = 1_000;

const eraseLine = "\r\u001b[K";

/**
 * Opens the API. On a terminal, a line says so while a response takes more than a second. Throws SettingsError and the errors of
 * `Api.request`, with advice if the API cannot be reached.
 */
export async function openOperatorApi(program: ProgramContext): Promise<Disposable & { api: Api }> {
  const open = await openApi(program);
  const { stderr } = process;
  const { api } = open;
  const text = program.logging.redact(`Waiting for ${open.connection.apiUrl} …`);
  const request: Api["request"] = async (...args) => {
    let isShown = false;
    const show = () => {
      isShown = true;
      stderr.write(text);
    };
    const timer = stderr.isTTY ? setTimeout(show, shownAfterMs) : undefined;
    try {
      return await api.request(...args);
    } catch (error) {
      throw withAdvice(error);
    } finally {
      clearTimeout(timer);
      if (isShown) stderr.write(eraseLine);
    }
  };
  const { address, attribution, requestRaw, toApiError } = api.as(api.attribution);
  return {
    api: { address, attribution, request, requestRaw, toApiError },
    [Symbol.dispose]: () => open[Symbol.dispose](),
  };
}

/** Adds to the message of an UnreachableError what is probably wrong. Returns the error. */
export function withAdvice(error: unknown): unknown {
  if (!(error instanceof UnreachableError)) return error;
  const cause = causeOfLostConnection(error.code);
  error.message += `.${cause === null ? "" : ` ${cause}`} \`lictor doctor\` tries each step.`;
  return error;
}
