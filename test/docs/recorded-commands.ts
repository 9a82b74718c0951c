// The commands of the documents that no test executes, and what is checked of them instead.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { inCheckout } from "../support/checkout.ts";
import { findRefusal } from "./command-line.ts";

/** How these commands begin, and why they are not executed. */
export const recordedCommands: readonly (readonly [start: RegExp, reason: string])[] = [
  [
    /^npm (ci|test|run|pack|install|init)\b/,
    "They need a network or much time. test/cli/package.test.ts installs the package.",
  ],
  [/^LICTOR_TEST_\w+=\S+ npx vitest /, "It runs tests."],
  [/^uv pip compile /, "It needs a network."],
  [/^python3 -m venv /, "It needs a network."],
  [/^~\/prefect\/bin\/prefect server start$/, "The tests have a server."],
  [/^lictor cloud login /, "It needs Prefect Cloud. test/cli/cloud.test.ts has it."],
  [
    /^lictor worker start .*--type (docker|kubernetes)$/,
    "They need an engine or a cluster: test/docker and test/kubernetes.",
  ],
  [/^lictor doctor --pool my-docker-pool /, "It needs an engine: test/doctor/docker.test.ts."],
  [/^(sudo|systemctl|echo .* \| sudo) /, "They change the machine. test/unit/deploy.test.ts checks the unit."],
  [/^docker /, "They need base images. test/docker/images.test.ts builds and runs the images."],
  [/^podman /, "It changes the machine. test/docker/podman.test.ts has a service of its own."],
  [/^kubectl /, "They need a cluster. test/unit/deploy.test.ts checks the manifests."],
];

/** Small programs that the documents use, as far as this machine lacks them. */
const missingPrograms = ["curl", "jq"].filter((program) => spawnSync(program, ["--version"]).error !== undefined);

/** The programs that those commands start. */
export const recordedPrograms = [
  ...["npm", "npx", "uv", "python3", "lictor", "sudo", "systemctl", "docker", "podman", "kubectl"],
  ...missingPrograms,
];

/** Whether a command is not executed. */
export function isRecorded(command: string): boolean {
  const isMissing = missingPrograms.some((program) => new RegExp(`\\b${program} `).test(command));
  return isMissing || recordedCommands.some(([start]) => start.test(command));
}

/** Returns what is wrong with a command that was not executed, or null. `words` are its words after the shell has read them. */
export async function findFault([program = "", ...words]: readonly string[]): Promise<string | null> {
  const missing = words.find((word) => /^(docs|test)\//.test(word) && !existsSync(inCheckout(word)));
  if (missing !== undefined) return `${missing} does not exist`;
  switch (program) {
    case "lictor":
      return await findRefusal(words);
    case "sudo":
      return await findFault(words);
    case "npm":
      return findScriptFault(words);
    case "docker":
      return await findDockerFault(words);
    default:
      return null;
  }
}

function findScriptFault([command = "", name = ""]: readonly string[]): string | null {
  const script = command === "run" ? name : command;
  const { scripts } = JSON.parse(readFileSync(inCheckout("package.json"), "utf8")) as { scripts: object };
  const isKnown = ["ci", "install", "pack", "link", "init", "pkg"].includes(command) || Object.hasOwn(scripts, script);
  return isKnown ? null : `package.json has no script ${script}`;
}

/** Checks the target of an image that is built, and the options of lictor in one that is run. */
async function findDockerFault([command, ...words]: readonly string[]): Promise<string | null> {
  const valueAfter = (option: string) => (words.includes(option) ? words[words.indexOf(option) + 1] : undefined);
  if (command === "build") {
    const dockerfile = readFileSync(inCheckout(valueAfter("-f") ?? "Dockerfile"), "utf8");
    const isStage = new RegExp(`^FROM \\S+ AS ${valueAfter("--target")}$`, "m").test(dockerfile);
    return isStage ? null : `the Dockerfile has no stage ${valueAfter("--target")}`;
  }
  const image = words.findIndex(
    (word, index) => /^lictor(-python)?$/.test(word) && !["--entrypoint", "-t"].includes(words[index - 1] ?? ""),
  );
  if (command !== "run") return null;
  if (image === -1) return "no image of lictor is run";
  const entrypoint = valueAfter("--entrypoint") === "lictor" ? [] : ["worker", "start", "--with-healthcheck"];
  return await findRefusal([...entrypoint, ...words.slice(image + 1)]);
}
