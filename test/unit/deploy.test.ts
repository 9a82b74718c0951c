// The files of docs/deploy/, read by the programs that use them.
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findMistake } from "../docs/command-line.ts";
import { inCheckout } from "../support/checkout.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

/** lictor needs so many seconds more than --drain-timeout to end flow runs and to report them. */
const afterDrainSeconds = 120;

async function readDeployFile(name: string): Promise<string> {
  return await readFile(inCheckout(`docs/deploy/${name}`), "utf8");
}

function isInstalled(program: string): boolean {
  return spawnSync(program, ["--version"]).error === undefined;
}

/** Returns the number behind `name`, which `pattern` separates from it. */
function numberAfter(text: string, name: string): number {
  return Number(new RegExp(`${name}\\D{1,4}(\\d+)`).exec(text)?.[1]);
}

describe("the unit for systemd", () => {
  test("starts a worker, and leaves it the time to drain", async () => {
    const unit = await readDeployFile("lictor@.service");
    const [, line = ""] = /^ExecStart=\/usr\/bin\/(.*)$/m.exec(unit) ?? [];
    expect(findMistake(line)).toBeNull();
    expect(numberAfter(unit, "TimeoutStopSec")).toBe(numberAfter(line, "--drain-timeout") + afterDrainSeconds);
    for (const setting of [
      "Type=notify",
      "NotifyAccess=all",
      "KillMode=process",
      "OOMPolicy=continue",
      "WatchdogSec=60",
    ]) {
      expect(unit).toMatch(new RegExp(`^${setting}$`, "m"));
    }
    expect(unit).not.toMatch(/^PrivateTmp=/m);
  });

  test.runIf(isInstalled("systemd-analyze"))("is accepted by systemd-analyze, and exposes little", async () => {
    await using folder = await makeTemporaryDirectory("lictor-unit-");
    const file = join(folder.path, "lictor@my-pool.service");
    const unit = await readDeployFile("lictor@.service");
    // systemd-analyze wants a program that exists.
    await writeFile(file, unit.replace("ExecStart=/usr/bin/lictor", `ExecStart=${inCheckout("bin/lictor.js")}`));
    const verified = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    expect({ status: verified.status, stderr: verified.stderr }).toEqual({ status: 0, stderr: "" });
    const { stdout } = spawnSync("systemd-analyze", ["security", "--offline=true", file], { encoding: "utf8" });
    expect(Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThanOrEqual(3);
  });
});

describe("the Dockerfile", () => {
  test("starts a worker as a user without rights", async () => {
    const dockerfile = await readDeployFile("Dockerfile");
    const stages = dockerfile.split(/^FROM /m).slice(1);
    expect(stages.map((stage) => /^\S+ AS (\S+)$/m.exec(stage)?.[1])).toEqual([
      "prefect",
      "package",
      "lictor",
      "lictor-python",
    ]);
    // Both images end in the same way.
    const [one = "", other = ""] = stages
      .slice(2)
      .map((stage) => stage.slice(stage.indexOf("ENV ")).replace(/^#.*\n/gm, ""));
    expect(one.trim()).toBe(other.trim());
    expect(one).toMatch(/^USER 1000:1000$/m);
    expect(one).toMatch(/^HEALTHCHECK /m);
    const json = (instruction: string) =>
      JSON.parse(new RegExp(`^${instruction} (\\[.*\\])$`, "m").exec(one)?.[1] ?? "[]") as string[];
    const [init, , ...command] = json("ENTRYPOINT");
    expect(init).toBe("tini");
    expect(findMistake([...command, ...json("CMD")].join(" "))).toBeNull();
  });

  test("has what Prefect's Helm chart starts", async () => {
    const dockerfile = await readDeployFile("Dockerfile");
    const [, text = ""] = /printf '(.*)' > \/opt\/prefect\/entrypoint\.sh/.exec(dockerfile) ?? [];
    const script = text.replaceAll("\\n", "\n").replace("exec lictor", "echo lictor");
    // The chart's own arguments, and those of the values.
    const extra = [...(await readDeployFile("helm-values.yaml")).matchAll(/^ {4}- (?!name:)"?([^"\n]*)"?$/gm)].map(
      ([, arg]) => arg,
    );
    const args = [
      "prefect",
      "worker",
      "start",
      "--type",
      "kubernetes",
      "--pool",
      "p",
      "--install-policy",
      "never",
      ...extra,
    ];
    const { stdout } = spawnSync("sh", ["-c", script, "entrypoint.sh", ...(args as string[])], { encoding: "utf8" });
    expect(stdout).toMatch(/^lictor worker start .* --with-healthcheck --drain-timeout 20\n$/);
    expect(findMistake(stdout.trim())).toBeNull();
  });

  test("asks for the health as Docker does", async () => {
    const [, , , script = ""] =
      /^ {4}CMD \["(node)", "(-e)", "(.*)"\]$/m.exec(await readDeployFile("Dockerfile")) ?? [];
    // Nobody listens on this port, so the check fails. A mistake in the script would have another exit code or output.
    const unhealthy = spawnSync(process.execPath, ["-e", script], {
      encoding: "utf8",
      env: { PREFECT_WORKER_WEBSERVER_PORT: "1" },
    });
    expect(unhealthy).toMatchObject({ status: 1, stdout: "", stderr: "" });
  });
});

describe("the manifests for Kubernetes", () => {
  test("start a worker, and leave it the time to drain", async () => {
    const deployment = await readDeployFile("kubernetes/deployment.yaml");
    const list = (text: string | undefined) => (text ?? "").split(", ").map((word) => word.replaceAll('"', ""));
    const args = list(/^ +args: \[(.*)\]$/m.exec(deployment)?.[1]);
    expect(findMistake(["lictor", "worker", "start", ...args].join(" "))).toBeNull();
    const commands = [...deployment.matchAll(/^ +command: \[(.*)\]$/gm)].map(([, command]) => list(command).join(" "));
    expect(commands).toEqual(["lictor worker status", "lictor worker drain --wait"]);
    expect(commands.map(findMistake)).toEqual([null, null]);
    const drainSeconds = Number(args[args.indexOf("--drain-timeout") + 1]);
    expect(numberAfter(deployment, "terminationGracePeriodSeconds")).toBe(drainSeconds + afterDrainSeconds);
    expect(deployment).not.toMatch(/livenessProbe:\s+httpGet/);
  });

  test.runIf(isInstalled("kubectl"))("are accepted by kubectl", () => {
    const { status, stdout, stderr } = spawnSync("kubectl", ["kustomize", inCheckout("docs/deploy/kubernetes")], {
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const kinds = [...stdout.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind);
    expect(kinds.sort()).toEqual(["Deployment", "Namespace", "Role", "RoleBinding", "ServiceAccount"]);
  });
});
