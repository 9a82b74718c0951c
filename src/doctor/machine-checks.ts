// This machine: the Python that runs the flows, and who may read the files with secrets.
import { statSync } from "node:fs";
import { isSecret } from "../settings/catalogue.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** In their order. */
export const machineChecks: readonly Check[] = [
  { name: "Python", run: checkPython },
  { name: "file permissions", run: checkPermissions },
];

async function checkPython({ python }: Examination): Promise<Finding[]> {
  const finding = await python;
  if (finding.kind === "missing") {
    const [what, ...advice] = finding.message.split(/(?= Install Prefect)/);
    return [fail("Python", what ?? "", advice.join("").trim())];
  }
  const { python: path, prefectVersion } = finding.engine;
  if (Number.parseInt(prefectVersion, 10) >= 3) return [pass("Python", `${path} with Prefect ${prefectVersion}`)];
  return [fail("Python", `${path} with Prefect ${prefectVersion}`, "Flow runs need Prefect 3 there.")];
}

/** The profiles file and whatever else gives a secret; files that hold nothing else warn by themselves when loaded. */
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
