// Checks of this machine: the Python that runs flows, the temporary directory, and the permissions of files with
// secrets.
import { statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { findTemporaryDirectory } from "../process/temporary-directory.ts";
import { isSecret } from "../settings/catalogue.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, skip, warn } from "./finding.ts";

/** Flow runs need more for the code that they fetch and the packages that they install. */
const minFreeBytes = 100_000_000;

/** The checks in the order of their output. */
export const machineChecks: readonly Check[] = [
  {
    name: "Python",
    lateFinding: warn(
      "Python",
      "no answer in time",
      "The machine is busy or slow: --timeout SECONDS gives everything more time.",
    ),
    run: checkPython,
  },
  { name: "temporary directory", run: checkTemporaryDirectory },
  { name: "file permissions", run: checkPermissions },
];

async function checkPython({ python, workPool }: Examination): Promise<Finding[]> {
  if (["docker", "kubernetes"].includes((await workPool)?.type ?? ""))
    return [skip("Python", "not looked at; flow runs bring their own in their image")];
  const finding = await python;
  if (finding.kind === "missing") {
    const [what, ...advice] = finding.message.split(/(?= Install Prefect| Wait if)/);
    // A busy machine needs seconds to start a Python, but its flow runs still succeed.
    const report = finding.isSlow ? warn : fail;
    return [report("Python", what ?? "", advice.join("").trim())];
  }
  const { python: path, prefectVersion } = finding.engine;
  if (Number.parseInt(prefectVersion, 10) >= 3) return [pass("Python", `${path} with Prefect ${prefectVersion}`)];
  return [fail("Python", `${path} with Prefect ${prefectVersion}`, "Flow runs need Prefect 3 there.")];
}

/** Checks the directory in which each flow run gets its own directory. */
async function checkTemporaryDirectory({ env }: Examination): Promise<Finding[]> {
  const name = "temporary directory";
  const finding = await findTemporaryDirectory(env);
  if (finding.kind === "none") {
    const [what, ...advice] = finding.message.split(/(?= Set TMPDIR)/);
    return [fail(name, what ?? "", advice.join("").trim())];
  }
  const { path, problems } = finding;
  const freeBytes = await readFreeBytes(path);
  if (freeBytes !== undefined && freeBytes < minFreeBytes) {
    const free = `${Math.floor(freeBytes / 1_000_000)} MB free`;
    return [warn(name, `${path}: only ${free}`, "Make room, or set TMPDIR to a directory with more.")];
  }
  if (problems.length === 0) return [pass(name, `${path} can be written to`)];
  return [warn(name, `${problems.join("; ")}; ${path} is used instead`, "Correct it, or set TMPDIR.")];
}

async function readFreeBytes(path: string): Promise<number | undefined> {
  const { bavail, bsize } = await statfs(path).catch(() => ({ bavail: undefined, bsize: 0 }));
  return bavail === undefined ? undefined : bavail * bsize;
}

/**
 * Checks the profiles file and other files with a secret. Loading the settings already warns about the files of *_FILE
 * settings.
 */
function checkPermissions({ settings: { profile, origins, hidden } }: Examination): Finding[] {
  const secrets = [
    ...origins,
    ...[...hidden].flatMap(([name, others]) => others.map((other) => [name, other] as const)),
  ]
    .filter(([name, { kind }]) => isSecret(name) && kind !== "secret file")
    .flatMap(([, { file }]) => (file ? [file] : []));
  const files = [...new Set([profile.file, ...secrets])].filter((file) => statSync(file, { throwIfNoEntry: false }));
  const open = files.filter((file) => (statSync(file).mode & 0o004) !== 0);
  if (open.length === 0) {
    return [
      pass("file permissions", files.length > 0 ? `${files.join(", ")}: not for others` : "no file holds secrets"),
    ];
  }
  const message = `every user of this machine may read ${open.join(", ")}`;
  return [warn("file permissions", message, `chmod 600 ${open.join(" ")}`)];
}
