// Routes of Prefect Cloud above workspaces. Source: prefect client/cloud.py.
import type { Api } from "./api.ts";
import type { RequestOptions } from "./request-options.ts";

/** A workspace that the key has access to, as `GET {cloud}/me/workspaces` returns it. */
export interface Workspace {
  account_id: string;
  account_name: string;
  account_handle: string;
  workspace_id: string;
  workspace_name: string;
  workspace_handle: string;
}

/**
 * Returns the workspaces of the key. `cloud` is a client whose API URL is PREFECT_CLOUD_API_URL. Throws ApiError 401 or
 * 403.
 */
export async function readWorkspaces(cloud: Api, options?: RequestOptions): Promise<Workspace[]> {
  return (await cloud.request("GET", "/me/workspaces", options)) as unknown as Workspace[];
}

/** Returns the handle by which users name a workspace: `account/workspace`. */
export function workspaceHandle(workspace: Workspace): string {
  return `${workspace.account_handle}/${workspace.workspace_handle}`;
}

/** Returns the API URL of a workspace. */
export function workspaceApiUrl(cloudApiUrl: string, workspace: Workspace): string {
  return `${cloudApiUrl}/accounts/${workspace.account_id}/workspaces/${workspace.workspace_id}`;
}
