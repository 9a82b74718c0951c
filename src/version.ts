// The versions that are sent to the server or printed by `lictor version`.
import packageJson from "../package.json" with { type: "json" };

/** lictor's own version. */
export const lictorVersion: string = packageJson.version;

/**
 * The Prefect release whose protocol lictor speaks. Servers read it from the User-Agent and switch off behaviour for
 * clients older than 3.4.11. Source: prefect server/orchestration/core_policy.py.
 */
export const prefectVersion = "3.9.1";

/** The client API version. Source: prefect client/constants.py SERVER_API_VERSION. */
export const apiVersion = "0.8.4";

/** Must match `prefect/<version> (API <version>)` exactly, because servers treat any other client as very old. */
export const userAgent = `prefect/${prefectVersion} (API ${apiVersion})`;
