// `lictor doctor --json`, run to its end.
import { expect, inject } from "vitest";
import { type ProgramOptions, runLictor } from "../support/lictor.ts";

/** An entry of the output. */
export interface Finding {
  name: string;
  status: "pass" | "warn" | "fail" | "skip";
  message: string;
  advice: string | null;
}

/** What the doctor said. */
export interface Diagnosis {
  code: number | null;
  /** The whole output, to look for secrets in. */
  output: string;
  /** The first finding of that name; fails the test if there is none. */
  find(name: string): Finding;
  /** The names of the findings with that status, in order. */
  named(status: Finding["status"]): string[];
}

/** Runs it with the Python of the test environment, and, other than `patient: false`, with time for a busy machine. */
export async function runDoctor(
  env: Record<string, string>,
  args: readonly string[] = [],
  { patient = true, ...options }: Pick<ProgramOptions, "cwd" | "command"> & { patient?: boolean } = {},
): Promise<Diagnosis> {
  const given = [...(patient ? ["--timeout", "30"] : []), ...args];
  const command = ["doctor", "--json", "--python", inject("python"), ...given];
  const { code, stdout, stderr } = await runLictor(command, { env, ...options });
  expect(stderr).toBe("");
  const findings = JSON.parse(stdout) as Finding[];
  for (const { message, advice } of findings) expect(`${message}${advice}`).not.toContain("\n");
  return {
    code,
    output: stdout,
    find(name) {
      const found = findings.find((finding) => finding.name === name);
      if (!found) throw new Error(`no finding named ${name} in ${stdout}`);
      return found;
    },
    named: (status) => findings.filter((finding) => finding.status === status).map(({ name }) => name),
  };
}
