// How to reach a cluster, and as whom. Where this comes from is up to `find-cluster.ts`.
import type { ProxyAddress, TlsOptions } from "../../../api/connection-options.ts";
import type { Logger } from "../../../logger.ts";

/** The environment that lictor was started with. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What finding a cluster needs of the program. */
export interface ClusterServices {
  readonly environment: Environment;
  /** Hides further secrets in all output. */
  hide(secrets: readonly string[]): void;
  readonly log: Logger;
}

/** A cluster and a user. */
export interface ClusterAccess {
  /** The URL of the API server, without a slash at its end. It may have a path prefix. */
  readonly server: string;
  readonly tls: TlsOptions;
  /** The proxy that the kubeconfig names. Undefined: that of the environment. */
  readonly proxy: ProxyAddress | undefined;
  /** The namespace of the context or of this pod. Null if there is none. */
  readonly namespace: string | null;
  /** Where all this comes from, such as `the context 'prod' of /root/.kube/config`, for messages. */
  readonly origin: string;
  /** Impersonation. Empty for most users. */
  readonly headers: Readonly<Record<string, string>>;
  readonly credentials: CredentialSource;
}

/** Who sends a request. All fields are null for an anonymous user. */
export interface Credentials {
  /** The value of the header `Authorization`. */
  readonly authorization: string | null;
  /** The client certificate and its key, as PEM text. */
  readonly certificate: { readonly cert: string; readonly key: string } | null;
}

/** Credentials that may expire, and then are read anew. */
export interface CredentialSource {
  /** Returns the credentials for the next request. Throws ClusterConfigError and the reason of the signal. */
  read(signal?: AbortSignal): Promise<Credentials>;
  /** Makes the next `read` get new ones, because the API server has refused `used`. */
  renew(used: Credentials): void;
}
