// Reads what a program wrote to the file that LICTOR_RESULT_FILE names: the message of the last state, and an artifact.
import { createArtifact, type NewArtifact } from "../api/artifacts.ts";
import type { Json } from "../api/wire.ts";
import { isJsonObject } from "../job/template.ts";
import { maxResultBytes } from "../program/program.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** The result of a program. `problem` says in a sentence why it is not used. */
export interface ProgramResult {
  readonly message: string | null;
  readonly artifact: Pick<NewArtifact, "type" | "key" | "description" | "data"> | null;
  readonly problem: string | null;
}

const noResult: ProgramResult = { message: null, artifact: null, problem: null };
const keyPattern = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/**
 * Reads a result. An object may have `message`, and `markdown` or `table` with `key` and `description`. The message of any
 * other JSON is its text. An empty text is no result. Never throws.
 */
export function parseResult(text: string): ProgramResult {
  if (text.trim() === "") return noResult;
  const refuse = (problem: string): ProgramResult => ({
    ...noResult,
    problem: `The result of the program ${problem}.`,
  });
  if (Buffer.byteLength(text) > maxResultBytes)
    return refuse(`has more than ${maxResultBytes} bytes, so it is not used`);
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return refuse("is no JSON, so it is not used");
  }
  if (typeof value === "string") return { ...noResult, message: value };
  if (!isJsonObject(value)) return { ...noResult, message: JSON.stringify(value) };
  const { message = null, markdown, table, key = null, description = null } = value;
  const isOwnObject = message !== null || markdown !== undefined || table !== undefined;
  if (!isOwnObject) return { ...noResult, message: JSON.stringify(value) };
  if (message !== null && typeof message !== "string") return refuse('has a "message" that is no text');
  if (key !== null && !(typeof key === "string" && keyPattern.test(key)))
    return { ...refuse('has a "key" that is not of small letters, digits and single hyphens'), message };
  if (description !== null && typeof description !== "string")
    return { ...refuse('has a "description" that is no text'), message };
  if (markdown !== undefined && table !== undefined) return { ...refuse('has both "markdown" and "table"'), message };
  if (markdown !== undefined) {
    if (typeof markdown !== "string") return { ...refuse('has a "markdown" that is no text'), message };
    return { message, artifact: { type: "markdown", key, description, data: markdown }, problem: null };
  }
  if (table === undefined) return { ...noResult, message };
  if (!Array.isArray(table)) return { ...refuse('has a "table" that is no list'), message };
  // Source: prefect artifacts.py TableArtifact.aformat.
  return { message, artifact: { type: "table", key, description, data: JSON.stringify(table) }, problem: null };
}

/** Creates the artifact of a result. A failure is only logged, because the end of the flow run matters more. */
export async function createResultArtifact(
  { api }: RunContext,
  { flowRun, log }: RunRecord,
  { artifact, problem }: ProgramResult,
): Promise<void> {
  if (problem !== null) log.warn(problem);
  if (artifact === null) return;
  try {
    await createArtifact(api, { ...artifact, flow_run_id: flowRun.id });
  } catch (error) {
    log.warn({ err: error }, "The artifact of the program's result could not be created");
  }
}
