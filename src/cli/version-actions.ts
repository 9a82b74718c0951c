// What `lictor version` does.
import { arch, platform } from "node:os";
import { defaultImage } from "../infrastructure/default-image.ts";
import { isKeyAlone } from "../settings/connection.ts";
import { apiVersion, lictorVersion, prefectVersion } from "../version.ts";
import { getFromServer } from "./check-connection.ts";
import { openApi } from "./open-api.ts";
import type { ProgramContext } from "./program-context.ts";

export { withProgram } from "./program-context.ts";

/** Prints the versions, and what lictor is connected to. */
export async function printVersion(program: ProgramContext): Promise<void> {
  const { profile } = program.settings;
  const rows: Array<[string, string]> = [
    ["Version", lictorVersion],
    ["API version", apiVersion],
    ["Speaks for Prefect", prefectVersion],
    ["Default image", defaultImage(program.env)],
    ["Node version", process.versions.node],
    ["OS/Arch", `${platform()}/${arch()}`],
    ["Profile", profile.name],
    ...(await describeServer(program)),
  ];
  for (const [name, value] of rows) process.stdout.write(`${`${name}:`.padEnd(21)} ${program.logging.redact(value)}\n`);
}

async function describeServer(program: ProgramContext): Promise<Array<[string, string]>> {
  if (isKeyAlone(program.settings)) return [["Server type", "cloud"]];
  if (!program.settings.values.PREFECT_API_URL) return [["Server type", "none (PREFECT_API_URL is not set)"]];
  using open = await openApi(program);
  const { api, connection } = open;
  if (connection.isCloud) return [["Server type", "cloud"]];
  try {
    const version = await getFromServer(api, "/admin/version");
    return [
      ["Server type", "self-hosted"],
      ["Server version", String(version)],
    ];
  } catch (error) {
    return [["Server type", `unknown (${connection.apiUrl}: ${(error as Error).message})`]];
  }
}
