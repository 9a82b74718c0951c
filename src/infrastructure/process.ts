// The work pool type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { PythonFinding } from "../engine/find-python.ts";
import { startProcess } from "../process/start-process.ts";
import { terminate, terminateGraceMs } from "../process/terminate.ts";
import { processBaseJobTemplate } from "../run/base-job-template.ts";
import { engineCommand, splitCommand } from "../run/command.ts";
import type { JobConfiguration } from "../run/job-configuration.ts";
import type { PoolType, StartedInfrastructure } from "./infrastructure.ts";

/** The type `process`; `python` runs the engine of every flow run without a command of its own. */
export function processPoolType(python: Promise<PythonFinding>): PoolType {
  return {
    name: "process",
    baseJobTemplate: processBaseJobTemplate,
    async start(job) {
      const argv = job.command === null ? engineCommand(await enginePython(python)) : splitCommand(job.command);
      return await start(argv, job);
    },
  };
}

async function enginePython(python: Promise<PythonFinding>): Promise<string> {
  const finding = await python;
  if (finding.kind === "missing") throw new Error(finding.message);
  return finding.engine.python;
}

async function start(argv: readonly string[], job: JobConfiguration): Promise<StartedInfrastructure> {
  const temporary = job.working_dir === null ? await mkdtemp(join(tmpdir(), "lictor-flow-run-")) : undefined;
  const removeTemporary = async (): Promise<void> => {
    // Best effort: what a grandchild still writes there keeps it alive.
    if (temporary) await rm(temporary, { recursive: true, force: true }).catch(() => {});
  };
  try {
    const cwd = temporary ?? resolve(job.working_dir ?? ".");
    const child = await startProcess({ argv, cwd, env: job.env, streamOutput: job.stream_output });
    return {
      identifier: String(child.pid),
      exited: child.exited.then(async (exit) => {
        await removeTemporary();
        return exit;
      }),
      terminate: (now) => terminate(child, terminateGraceMs, now),
    };
  } catch (error) {
    await removeTemporary();
    throw error;
  }
}
