// The credentials of a user: a token, a password, a client certificate or a plugin. Files and plugins give new ones.
import { resolve } from "node:path";
import type { JsonObject } from "../../../api/wire.ts";
import { monotonicMs, wallClockMs } from "../../../async/clock.ts";
import { waitUnlessAborted } from "../../../async/sleep.ts";
import { isJsonObject } from "../../../job/template.ts";
import type { CredentialSource, Credentials } from "./cluster-access.ts";
import { ClusterConfigError } from "./cluster-error.ts";
import { type PluginContext, runPlugin } from "./exec-plugin.ts";
import { contentOf, type Entry, readNeeded, textOf } from "./kubeconfig.ts";

/** Tokens in files are replaced before they expire. */
const rereadMs = 60_000;
/** Credentials of a plugin are renewed this long before they expire, because clocks differ. */
const earlyMs = 30_000;
/** The shortest time between two runs of a plugin, in case it prints credentials that have expired. */
const pluginPauseMs = 5_000;

/** How a user is read again, and what its plugin needs. */
export interface UserSource extends PluginContext {
  /** Returns the user's entry in the kubeconfig. Null for an anonymous user. */
  readUser(): Promise<Entry | null>;
  /** Hides secrets in all output. */
  hide(secrets: readonly string[]): void;
}

interface Current {
  readonly credentials: Credentials;
  readonly isValid: () => boolean;
}

/** Reads credentials when they are needed, and again when they may have changed. Callers at the same time share one read. */
export class UserCredentials implements CredentialSource {
  #user: Entry | null | undefined;
  #current: Current | null = null;
  #reading: Promise<Credentials> | null = null;

  constructor(private readonly source: UserSource) {}

  async read(signal?: AbortSignal): Promise<Credentials> {
    if (this.#current?.isValid()) return this.#current.credentials;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    const reading = this.#reading;
    // The read is shared, so the signal of one caller must not end it.
    if (signal) await waitUnlessAborted(reading, signal);
    signal?.throwIfAborted();
    return await reading;
  }

  renew(used: Credentials): void {
    if (this.#current?.credentials !== used) return;
    this.#current = null;
    // The kubeconfig may have been written anew, for example by a login.
    this.#user = undefined;
  }

  async #read(): Promise<Credentials> {
    const before = this.#current;
    try {
      this.#user = this.#user === undefined ? await this.source.readUser() : this.#user;
      this.#current = await toCurrent(this.#user, this.source);
    } catch (error) {
      // A file that is being replaced is there again in a minute. Until then, the old token is good.
      if (before === null || !(error instanceof ClusterConfigError)) throw error;
      this.#current = { ...before, isValid: validFor(rereadMs) };
    }
    return this.#current.credentials;
  }
}

function validFor(ms: number): () => boolean {
  const readAt = monotonicMs();
  return () => monotonicMs() - readAt < ms;
}

async function toCurrent(user: Entry | null, source: UserSource): Promise<Current> {
  if (user === null) return { credentials: { authorization: null, certificate: null }, isValid: () => true };
  const { fields, directory } = user;
  const { origin } = source;
  const [cert, key] = [
    await contentOf(user, "client-certificate", origin),
    await contentOf(user, "client-key", origin),
  ];
  if ((cert === undefined) !== (key === undefined)) {
    throw new ClusterConfigError(`The user of ${origin} has only one of client certificate and key. Add the other.`);
  }
  const certificate = cert === undefined || key === undefined ? null : { cert, key };
  const authorization = await authorizationOf(user, source);
  if (authorization === null && isJsonObject(fields.exec)) {
    const { expiresAt, ...credentials } = await runPlugin(fields.exec, directory, source);
    const isPaused = validFor(pluginPauseMs);
    const isValid = (): boolean => isPaused() || expiresAt === null || wallClockMs() < expiresAt - earlyMs;
    return { credentials: { ...credentials, certificate: credentials.certificate ?? certificate }, isValid };
  }
  const hasFiles = ["tokenFile", "client-certificate", "client-key"].some((name) => textOf(fields, name) !== undefined);
  return { credentials: { authorization, certificate }, isValid: hasFiles ? validFor(rereadMs) : () => true };
}

/** The order is that of client-go: a token, then a user and password, then an auth provider. */
async function authorizationOf({ fields, directory }: Entry, source: UserSource): Promise<string | null> {
  const file = textOf(fields, "tokenFile");
  if (file !== undefined) {
    const token = (await readNeeded(resolve(directory, file), `token file of ${source.origin}`)).trim();
    if (token !== "") return `Bearer ${token}`;
  }
  const token = textOf(fields, "token");
  if (token !== undefined) {
    source.hide([token]);
    return `Bearer ${token}`;
  }
  const [username, password] = [textOf(fields, "username"), textOf(fields, "password")];
  if (username !== undefined && password !== undefined) {
    const basic = Buffer.from(`${username}:${password}`, "utf8").toString("base64");
    source.hide([password, basic]);
    return `Basic ${basic}`;
  }
  const provider = fields["auth-provider"];
  return isJsonObject(provider) ? ofProvider(provider, source) : null;
}

/** kubectl has no auth providers of clouds since 1.26. The id token of OIDC works until it expires. */
function ofProvider(provider: JsonObject, { origin, hide }: UserSource): string {
  const name = textOf(provider, "name") ?? "";
  const config = isJsonObject(provider.config) ? provider.config : {};
  const token = name === "oidc" ? textOf(config, "id-token") : undefined;
  if (token !== undefined) {
    hide([token]);
    return `Bearer ${token}`;
  }
  const advice: Readonly<Record<string, string>> = {
    gcp: "Install gke-gcloud-auth-plugin and run `gcloud container clusters get-credentials CLUSTER`.",
    azure: "Run `kubelogin convert-kubeconfig`.",
    oidc: "It has no id-token. Use a credential plugin, such as kubelogin.",
  };
  throw new ClusterConfigError(
    `The user of ${origin} has the auth provider '${name}', which lictor, like kubectl since 1.26, does not run. ${advice[name] ?? "Use a credential plugin."}`,
  );
}
