// Runs the checks concurrently, each as soon as the check that it needs has succeeded. Yields the findings in order.
import { causeOfLostConnection } from "../api/causes.ts";
import { ApiError, UnreachableError } from "../api/errors.ts";
import { aborted } from "../async/sleep.ts";
import { apiChecks } from "./api-checks.ts";
import { bodyLimitCheck } from "./body-limit-check.ts";
import type { Check, Examination } from "./check.ts";
import { dockerChecks } from "./docker-checks.ts";
import { type Finding, fail, skip } from "./finding.ts";
import { kubernetesChecks } from "./kubernetes-checks.ts";
import { machineChecks } from "./machine-checks.ts";
import { networkChecks } from "./network-checks.ts";
import { settingsChecks } from "./settings-checks.ts";
import { socketChecks } from "./socket-checks.ts";
import { workPoolCheck } from "./work-pool-check.ts";

/** The checks in the order of their output. */
const checks: readonly Check[] = [
  ...settingsChecks,
  ...networkChecks,
  ...apiChecks,
  bodyLimitCheck,
  workPoolCheck,
  ...dockerChecks,
  ...kubernetesChecks,
  ...socketChecks,
  ...machineChecks,
];

/** Yields all findings in order, each as soon as the findings before it are known. Never throws. */
export async function* examine(examination: Examination): AsyncGenerator<Finding> {
  const running = new Map<string, Promise<Finding[]>>();
  for (const check of checks) {
    running.set(check.name, runCheck(check, running.get(check.needs ?? ""), examination));
  }
  for (const findings of running.values()) yield* await findings;
}

async function runCheck(
  { name, run, holds, lateFinding }: Check,
  needed: Promise<Finding[]> | undefined,
  shared: Examination,
): Promise<Finding[]> {
  const examination = holds ? { ...shared, signal: shared.holdSignal } : shared;
  const { signal } = examination;
  const obstacle = (await needed)?.find(({ status }) => status === "fail" || status === "skip");
  if (obstacle?.status === "skip") return [skip(name, obstacle.message)];
  if (obstacle) return [skip(name, `not looked at, because ${obstacle.name} failed`)];
  try {
    const findings = await Promise.race([run(examination), aborted(signal)]);
    if (findings) return findings;
    return [lateFinding ?? failureOf(name, signal.reason, signal)];
  } catch (error) {
    return [signal.aborted && lateFinding ? lateFinding : failureOf(name, error, signal)];
  }
}

/** Returns the finding for a check that throws. */
function failureOf(name: string, error: unknown, signal: AbortSignal): Finding {
  if (signal.aborted) {
    return fail(name, "no answer in time", "It hangs or is slow: --timeout SECONDS gives everything more time.");
  }
  if (error instanceof ApiError) {
    const { method, path, status, detail, advice } = error;
    return fail(name, `${method} ${path}: ${status} ${detail}`, advice ?? "The log of the server may say more.");
  }
  // The messages of other errors already say what to do.
  const message = error instanceof Error ? error.message : String(error);
  return fail(name, message, error instanceof UnreachableError ? causeOfLostConnection(error.code) : null);
}
