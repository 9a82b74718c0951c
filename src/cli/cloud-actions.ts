// The actions of `lictor cloud …`. Source: prefect cli/cloud/__init__.py, cli/_cloud_utils.py.
import { readWorkspaces, type Workspace, workspaceApiUrl, workspaceHandle } from "../api/cloud.ts";
import { ApiError } from "../api/errors.ts";
import { pythonRepr } from "../python-text.ts";
import { locateProfile, profileSettings, type SettingsInput } from "../settings/load.ts";
import { changeProfile, overridingVariables } from "./change-profile.ts";
import { openCloud } from "./open-api.ts";
import { withAdvice } from "./operator-api.ts";
import type { OutputOption } from "./options.ts";
import type { ProgramContext } from "./program-context.ts";
import { askHidden, choose, confirm, isInteractive, print, printJson } from "./terminal.ts";

export { settingsInput, withProgram } from "./program-context.ts";

/** `cloud login`: writes the key and a workspace into the profile. Throws an Error if Cloud refuses the key. */
export async function login(
  program: ProgramContext,
  { key: givenKey, workspace: handle }: { key?: string; workspace?: string },
): Promise<void> {
  const { env, settings } = program;
  if (!isInteractive(env) && !(givenKey && handle)) {
    throw new Error("When not using an interactive terminal, you must supply a `--key` and `--workspace`.");
  }
  const key = (givenKey ?? (await askKey(program))).trim();
  if (key === "") throw new Error("No API key given.");
  program.logging.hide([key]);
  if (env.PREFECT_API_KEY && env.PREFECT_API_KEY.trim() !== key) {
    throw new Error(
      "Cannot log in: the environment variable PREFECT_API_KEY holds a different key, which comes first.",
    );
  }
  using cloud = openCloud(withKey(program, key));
  const workspaces = await readWorkspaces(cloud.api).catch((error: unknown) => {
    throw isRefusal(error)
      ? new Error(`Unable to authenticate with Prefect Cloud. ${adviceFor(key)}`)
      : withAdvice(error);
  });
  const workspace = await pickWorkspace(program, workspaces, handle);
  const apiUrl = workspaceApiUrl(cloud.apiUrl, workspace);
  const changes = { PREFECT_API_KEY: key, PREFECT_API_URL: apiUrl };
  await changeProfile(settings.profile, new Map(Object.entries(changes)));
  print(`Authenticated with Prefect Cloud! Using workspace ${pythonRepr(workspaceHandle(workspace))}.`);
  if (env.PREFECT_API_URL !== apiUrl) print(...overridingVariables(["PREFECT_API_URL"], env));
}

/** `cloud logout`: removes the key and the workspace from the profile. Throws an Error if there is no key. */
export async function logout(input: SettingsInput): Promise<void> {
  const profile = locateProfile(input);
  if (!profileSettings(profile).has("PREFECT_API_KEY")) {
    throw new Error("Current profile is not logged into Prefect Cloud.");
  }
  const changes = { PREFECT_API_KEY: null, PREFECT_API_URL: null };
  await changeProfile(profile, new Map(Object.entries(changes)));
  print("Logged out from Prefect Cloud.", ...overridingVariables(Object.keys(changes), input.env));
}

/** `cloud workspace ls`: prints the workspaces of the key. */
export async function listWorkspaces(program: ProgramContext, output: OutputOption["output"]): Promise<void> {
  const { workspaces, apiUrl } = await readOwnWorkspaces(program);
  if (output === "json") {
    printJson(workspaces);
    return;
  }
  const current = program.settings.values.PREFECT_API_URL;
  const rows = workspaces.map(
    (workspace) => `  ${workspaceApiUrl(apiUrl, workspace) === current ? "*" : " "} ${workspaceHandle(workspace)}`,
  );
  print("Workspaces:", ...rows, "* active workspace");
}

/** `cloud workspace set`: writes another workspace into the profile. */
export async function setWorkspace(program: ProgramContext, handle: string | undefined): Promise<void> {
  const { env, settings } = program;
  if (handle === undefined && !isInteractive(env)) {
    throw new Error("When not using an interactive terminal, you must supply a `--workspace`.");
  }
  const { workspaces, apiUrl } = await readOwnWorkspaces(program);
  const workspace = await pickWorkspace(program, workspaces, handle);
  await changeProfile(settings.profile, new Map([["PREFECT_API_URL", workspaceApiUrl(apiUrl, workspace)]]));
  const [name, profile] = [workspaceHandle(workspace), settings.profile.name].map(pythonRepr);
  print(
    `Successfully set workspace to ${name} in profile ${profile}.`,
    ...overridingVariables(["PREFECT_API_URL"], env),
  );
}

/** Returns the workspaces that the key has access to, sorted by handle. */
async function readOwnWorkspaces(program: ProgramContext): Promise<{ workspaces: Workspace[]; apiUrl: string }> {
  using cloud = openCloud(program);
  if (cloud.authorization.kind === "none") {
    const profile = pythonRepr(program.settings.profile.name);
    throw new Error(`Currently not authenticated in profile ${profile}. Please log in with \`lictor cloud login\`.`);
  }
  const workspaces = await readWorkspaces(cloud.api).catch((error: unknown) => {
    throw withAdvice(error);
  });
  return { workspaces: workspaces.sort(byHandle), apiUrl: cloud.apiUrl };
}

/**
 * Returns the workspace with that handle. Without a handle it is the only workspace, else the one that the user picks.
 */
async function pickWorkspace(
  { settings }: ProgramContext,
  workspaces: readonly Workspace[],
  handle: string | undefined,
): Promise<Workspace> {
  const sorted = [...workspaces].sort(byHandle);
  if (handle !== undefined) {
    const found = sorted.find((workspace) => workspaceHandle(workspace) === handle);
    if (found !== undefined) return found;
    const available = sorted.map((workspace) => pythonRepr(workspaceHandle(workspace))).join(", ");
    throw new Error(`Workspace ${pythonRepr(handle)} not found.${available && ` Available workspaces: ${available}`}`);
  }
  const [only] = sorted;
  if (only === undefined) {
    throw new Error(
      `No workspaces found! Create a workspace at ${settings.values.PREFECT_CLOUD_UI_URL} and try again.`,
    );
  }
  return sorted.length === 1 ? only : choose("Which workspace would you like to use?", sorted, workspaceHandle);
}

async function askKey({ settings }: ProgramContext): Promise<string> {
  const current = settings.values.PREFECT_API_KEY;
  if (current) {
    print("It looks like you're already authenticated on this profile.");
    if (!(await confirm("Would you like to reauthenticate?"))) return current;
  }
  return askHidden("Paste your API key: ");
}

/** Returns the program with this key in place of any other. */
function withKey(program: ProgramContext, key: string): ProgramContext {
  const { values, origins } = program.settings;
  const origin = { kind: "default", key: "--key", raw: key, description: "from the command line" } as const;
  return {
    ...program,
    settings: {
      ...program.settings,
      values: { ...values, PREFECT_API_KEY: key },
      origins: new Map([...origins, ["PREFECT_API_KEY", origin]]),
    },
  };
}

function adviceFor(key: string): string {
  const isExpectedFormat = /^pn[ub]_/.test(key);
  return isExpectedFormat
    ? "Please ensure your credentials are correct and unexpired."
    : "Your key is not in the expected format: 'pnu_' or 'pnb_'.";
}

function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 401 || error.status === 403);
}

function byHandle(a: Workspace, b: Workspace): number {
  return workspaceHandle(a) < workspaceHandle(b) ? -1 : 1;
}
