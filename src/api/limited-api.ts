// Requests that are given up early, whatever their caller asks for.
import type { Api } from "./api.ts";
import type { RequestOptions } from "./request-options.ts";

/**
 * Returns the same API, but `signal` ends every request, reads are not repeated without limit, and nothing else is repeated
 * at all. For states that are proposed because of what was read just before.
 */
export function limitedApi(api: Api, signal: AbortSignal): Api {
  const limited = (method: string, request?: RequestOptions): RequestOptions => ({
    ...request,
    signal,
    endless: false,
    retriesRefusals: false,
    ...(method !== "GET" && { beforeRepeat: refuseRepetition }),
  });
  return {
    address: api.address,
    attribution: api.attribution,
    request: async (method, path, request) => await api.request(method, path, limited(method, request)),
    requestRaw: async (method, path, request) => await api.requestRaw(method, path, limited(method, request)),
    toApiError: (method, path, response) => api.toApiError(method, path, response),
  };
}

async function refuseRepetition(): Promise<never> {
  throw new Error("The request failed. It is not repeated, because what was read before it may have changed.");
}
