// How Prefect Cloud differs from a self-hosted server on the wire, as the reverse proxy plays it.
// Source: prefect client/base.py, events/clients.py, workers/base.py _send_worker_heartbeat, client/cloud.py.
import type { FrameRule, RelayRules } from "./websocket-relay.ts";

/** The one account, workspace and API key that exist; ids are UUIDs. */
export interface CloudAccount {
  key: string;
  accountId: string;
  workspaceId: string;
}

/** An answer that Cloud gives where a self-hosted server has another or none. */
export interface CloudAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** What stands between a client and the workspace's routes. */
export function workspaceBasePath({ accountId, workspaceId }: CloudAccount): string {
  return `/api/accounts/${accountId}/workspaces/${workspaceId}`;
}

/** Whether the request carries the key. */
export function isAuthorized({ key }: CloudAccount, authorization: string | undefined): boolean {
  return authorization?.replace(/^bearer /i, "Bearer ") === `Bearer ${key}`;
}

/** `GET /api/me/workspaces`. */
export function workspacesAnswer({ accountId, workspaceId }: CloudAccount): CloudAnswer {
  return json(200, [
    {
      account_id: accountId,
      account_name: "Test Account",
      account_handle: "test-account",
      workspace_id: workspaceId,
      workspace_name: "Test Workspace",
      workspace_description: "",
      workspace_handle: "test-workspace",
    },
  ]);
}

/** Cloud's answer to a heartbeat that the server behind has taken: the bare worker id, if the worker asked for it. */
export function heartbeatAnswer(requestBody: string, workerId: string): CloudAnswer | undefined {
  const { return_id: asked } = JSON.parse(requestBody) as { return_id?: boolean };
  return asked ? { status: 200, headers: { "content-type": "text/plain" }, body: workerId } : undefined;
}

/** The request body as the server behind takes it: its logs know no worker. */
export function selfHostedBody(method: string, path: string, body: string): string {
  if (method !== "POST" || path !== "/logs/") return body;
  const records = JSON.parse(body) as Record<string, unknown>[];
  return JSON.stringify(records.map(({ worker_id: _, ...record }) => record));
}

/**
 * Whether a WebSocket upgrade is as Cloud wants it; otherwise the status that refuses it. `/events/in` is
 * authenticated by header alone, the others by subprotocol and first frame.
 */
export function upgradeProblem(
  account: CloudAccount,
  path: string,
  headers: NodeJS.Dict<string | string[]>,
): number | undefined {
  if (path !== "/events/in") return headers["sec-websocket-protocol"] === "prefect" ? undefined : 403;
  if (headers["sec-websocket-protocol"] !== undefined) return 400;
  return isAuthorized(account, headers.authorization as string | undefined) ? undefined : 401;
}

/** Checks the token of the first frame and takes it away, as the server behind knows no key; gives workers their id. */
export function cloudRelayRules(account: CloudAccount, path: string, workerId: string): RelayRules {
  // Without subprotocol the server behind accepts events without authentication too.
  if (path === "/events/in") return {};
  const isWorkerChannel = path.endsWith("/workers/connect");
  const fromClient: FrameRule = (text, index) => {
    if (index > 0) return text;
    const { type, token } = JSON.parse(text) as { type?: string; token?: string };
    if (type === "auth" && token === account.key) return JSON.stringify({ type, token: null });
    return { close: 1008, reason: isWorkerChannel ? "authentication_failed" : "Invalid token" };
  };
  if (!isWorkerChannel) return { fromClient };
  const fromServer: FrameRule = (text) => {
    const frame = JSON.parse(text) as { type: string; payload?: object };
    if (frame.type !== "worker.ready.v1") return text;
    return JSON.stringify({ ...frame, payload: { ...frame.payload, worker_id: workerId } });
  };
  return { fromClient, fromServer };
}

function json(status: number, body: unknown): CloudAnswer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}
