// Who has claimed a flow run. The claim itself says so in its message, and so do labels, which arrive after the claim.
import type { FlowRun } from "../api/wire.ts";
import { hostLabel, instanceLabel, workerNameLabel } from "../job/labels.ts";
import type { RunContext } from "./run-context.ts";

/** The program and the worker that claimed a flow run. `host` is null if it is not known. */
export interface Claimant {
  readonly instance: string;
  readonly host: string | null;
  readonly workerName: string;
}

/**
 * Returns the message of the states that a worker proposes until the program begins. A worker that dies right after its claim
 * has sent no labels, so only this message names it. Null without an instance directory.
 */
export function claimMessage({ identity, services }: Pick<RunContext, "identity" | "services">): string | null {
  const { instance, host } = services.instance;
  return instance === null ? null : `Claimed by worker '${identity.name}' on host '${host}' (lictor ${instance}).`;
}

const messagePattern = /^Claimed by worker '(?<workerName>.*)' on host '(?<host>.*)' \(lictor (?<instance>\S+)\)\.$/s;

/**
 * Returns who has the flow run, by the message of its claim and by its labels. They differ if another worker has adopted it
 * since, and if the labels are those of an earlier claim. Empty if no lictor program with an instance directory claimed it.
 */
export function readClaimants({ state, labels }: Pick<FlowRun, "state" | "labels">): Claimant[] {
  // Anybody may write such a message into other states.
  const message = state?.type === "PENDING" ? state.message : null;
  const { workerName: name, host: at, instance: by } = messagePattern.exec(message ?? "")?.groups ?? {};
  const { [instanceLabel]: instance, [hostLabel]: host, [workerNameLabel]: workerName } = labels ?? {};
  return [
    ...(name !== undefined && at !== undefined && by !== undefined
      ? [{ instance: by, host: at, workerName: name }]
      : []),
    ...(typeof instance === "string" && typeof workerName === "string"
      ? [{ instance, host: typeof host === "string" ? host : null, workerName }]
      : []),
  ];
}
