// The permissions that a worker of kubernetes work pools needs in each namespace. `docs/deploy/kubernetes/rbac.yaml` has the same.
import { events, jobs, pods, type Resource, secrets } from "./cluster/resources.ts";

/** Verbs on one resource. */
export interface Rule {
  readonly resource: Resource;
  readonly subresource?: string;
  readonly verbs: readonly string[];
  /** What is missing without it. Null if no flow run can be executed. */
  readonly loss: string | null;
}

/** Which secrets the worker writes. Source: the settings WORKER_CREATE_SECRET_FOR_API_KEY and WORKER_STORE_ENV_AS_SECRET. */
export interface SecretUse {
  readonly createsApiKeySecret: boolean;
  readonly storesEnvironment: boolean;
}

/** Returns the rules for one namespace. */
export function rulesFor({ createsApiKeySecret, storesEnvironment }: SecretUse): Rule[] {
  const ofSecrets = new Set([
    ...(createsApiKeySecret ? ["create", "update"] : []),
    ...(storesEnvironment ? ["create", "patch", "delete"] : []),
  ]);
  return [
    { resource: jobs, verbs: ["create", "get", "list", "watch", "delete"], loss: null },
    { resource: pods, verbs: ["list", "watch"], loss: null },
    { resource: pods, subresource: "log", verbs: ["get"], loss: "The output of failed containers is not shown." },
    { resource: events, verbs: ["list"], loss: "The reasons of pods that cannot be created are not known." },
    ...(ofSecrets.size > 0 ? [{ resource: secrets, verbs: [...ofSecrets], loss: null }] : []),
  ];
}

/** Returns the rule as a Role has it, on one line. */
export function describeRule({ resource, subresource }: Rule, verbs: readonly string[]): string {
  const name = subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`;
  return `{apiGroups: ["${resource.group}"], resources: ["${name}"], verbs: [${verbs.map((verb) => `"${verb}"`).join(", ")}]}`;
}
