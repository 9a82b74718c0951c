// Reads the file of a container to which its program may write its result.
import { timeoutSignal } from "../../async/clock.ts";
import { maxResultBytes } from "../../program/program.ts";
import type { Docker } from "./docker.ts";
import { isMissing } from "./engine/engine-error.ts";

/** The path inside the container, in a directory that almost every image has. */
export const resultPath = "/tmp/lictor-result.json";

const limitMs = 10_000;
/** Source: POSIX pax, ustar interchange format: the size has 12 octal digits at 124, and the content begins at 512. */
const headerBytes = 512;

/** Returns the result, at most one byte more than is used. An empty text if there is none. Never rejects. */
export async function readContainerResult(docker: Docker, id: string): Promise<string> {
  const path = `/containers/${id}/archive`;
  try {
    const archive = await docker.engine.open("GET", path, {
      query: { path: resultPath },
      signal: timeoutSignal(limitMs),
    });
    let read = Buffer.alloc(0);
    for await (const chunk of archive) {
      read = Buffer.concat([read, chunk as Buffer]);
      if (read.length > headerBytes + maxResultBytes) break;
    }
    const size = Number.parseInt(read.toString("latin1", 124, 136), 8);
    return read.toString("utf8", headerBytes, headerBytes + Math.min(size || 0, maxResultBytes + 1));
  } catch (error) {
    if (!isMissing(error)) docker.services.log.debug({ err: error }, `The result in container ${id} cannot be read`);
    return "";
  }
}
