// A credential plugin, such as those of EKS, GKE and AKS.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JsonObject } from "../../src/api/wire.ts";

/** Makes a plugin that prints the token of a file, and notes each call. Its files are in `directory`. */
export async function makePlugin(directory: string) {
  const [program, tokenFile, calls, lifetime] = ["plugin", "token", "calls", "lifetime"].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  const script = `#!/bin/sh
echo "$KUBERNETES_EXEC_INFO" >>'${calls}'
expires=$(date -u -d "+$(cat '${lifetime}') seconds" +%Y-%m-%dT%H:%M:%SZ)
printf '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
  "status": {"token": "%s", "expirationTimestamp": "%s"}}' "$(cat '${tokenFile}')" "$expires"
`;
  await writeFile(program, script, { mode: 0o755 });
  await writeFile(calls, "");
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: program,
    interactiveMode: "Never",
    provideClusterInfo: true,
  };
  return {
    user: { exec } as JsonObject,
    /** The token from now on, and the seconds after which the plugin says that it expires. */
    async setToken(token: string, seconds: number) {
      await writeFile(tokenFile, token);
      await writeFile(lifetime, String(seconds));
    },
    calls: async () => (await readFile(calls, "utf8")).split("\n").filter(Boolean),
  };
}
