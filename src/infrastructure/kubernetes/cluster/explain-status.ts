// Says in words why an API server refused a request, and what to do. Pure.

/** The body of a response that is no success. Source: Kubernetes API conventions, `Status`. */
export interface StatusBody {
  readonly message?: string;
  /** Such as `NotFound`, `AlreadyExists`, `Forbidden`, `Invalid` and `Expired`. */
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly kind?: string;
    readonly name?: string;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
    readonly retryAfterSeconds?: number;
  };
}

/** What was asked. Messages show it. */
export interface ClusterCall {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** The URL of the API server. */
  readonly server: string;
  /** Where the credentials come from, such as `the context 'prod' of /root/.kube/config`. */
  readonly origin: string;
}

/** Returns one line without a secret. It names the request, the status, the server's reason and what to do. */
export function explainStatus(status: number, body: StatusBody, call: ClusterCall): string {
  const said = oneLine(body.message ?? "") || "no reason given";
  const request = `${call.method} ${call.path}: ${status}`;
  const advice = adviceOn(status, body, call, said);
  if (advice === undefined) return `${said.replace(/\.$/, "")} (${request}).`;
  return `${advice} (${request})`;
}

const rbacRefusal =
  /User "([^"]*)" cannot (\S+) resource "([^"]*)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?/;

function adviceOn(status: number, body: StatusBody, call: ClusterCall, said: string): string | undefined {
  if (status === 401) {
    return `The Kubernetes API at ${call.server} does not accept the credentials of ${call.origin}. They may have expired: renew them there.`;
  }
  if (status === 403) return adviceOnForbidden(body, said);
  if (status === 404) return adviceOnMissing(body, call, said);
  if (status === 413) return `The request is larger than the API server takes: ${said}.`;
  if (status === 422) return adviceOnInvalid(body, said);
  return undefined;
}

/** A 403 is not only about permissions: quotas and admission controllers refuse with it too. */
function adviceOnForbidden({ details }: StatusBody, said: string): string {
  const [refusal, user, verb, resource, group = "", namespace] = rbacRefusal.exec(said) ?? [];
  if (refusal) {
    const where = namespace ? `in namespace '${namespace}'` : "in the whole cluster";
    const rule = `{apiGroups: ["${group}"], resources: ["${resource}"], verbs: ["${verb}"]}`;
    const role = namespace ? `a Role of namespace '${namespace}'` : "a ClusterRole";
    return `'${user}' may not ${verb} ${resource} ${where}. Add this rule to ${role} that is bound to it: ${rule}.`;
  }
  if (/exceeded quota|limited resources|insufficient quota/i.test(said)) {
    return `The quota of the namespace does not allow it: ${said}. Raise the quota, lower the requests and limits of the job, or set a concurrency limit on the work pool.`;
  }
  if (details?.causes?.some(({ reason }) => reason === "NamespaceTerminating") || /is being terminated/.test(said)) {
    return `The namespace is being deleted: ${said}. Use another namespace.`;
  }
  if (/violates PodSecurity/i.test(said)) {
    return `The pod security standard of the namespace does not allow it: ${said}. Change the securityContext in the job manifest of the work pool.`;
  }
  return `The cluster refuses it: ${said}.`;
}

function adviceOnMissing({ details }: StatusBody, { server }: ClusterCall, said: string): string {
  if (details?.kind === "namespaces") {
    return `The namespace '${details.name}' does not exist. Create it, or set another namespace in the work pool or the deployment.`;
  }
  // An API server names the object. Others, such as a proxy or a server without the API group, do not.
  if (details?.name !== undefined) return `${said}.`;
  return `There is no such route at ${server}: ${said}. Check the URL of the cluster, which may need a path prefix.`;
}

function adviceOnInvalid({ details }: StatusBody, said: string): string {
  const fields = (details?.causes ?? []).map(({ field, message }) =>
    [field, oneLine(message ?? "")].filter(Boolean).join(": "),
  );
  const name = details?.name ? ` '${details.name}'` : "";
  if (fields.length === 0) return `The manifest is not valid: ${said}.`;
  return `The manifest of ${details?.kind ?? "the object"}${name} is not valid: ${fields.join("; ")}. Correct the job manifest of the work pool, or the job variables.`;
}

/** Returns the text on one line, with at most 1,000 characters. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().replace(/\.$/, "").slice(0, 1_000);
}
