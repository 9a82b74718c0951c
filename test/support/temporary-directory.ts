// A folder that is gone when its scope ends.
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder, its path free of symlinks; removed with everything in it at dispose. */
export interface TemporaryDirectory extends AsyncDisposable {
  path: string;
}

/** Creates a folder below the system's temporary folder. */
export async function makeTemporaryDirectory(prefix = "lictor-test-"): Promise<TemporaryDirectory> {
  const path = await realpath(await mkdtemp(join(tmpdir(), prefix)));
  return {
    path,
    // A process that is just ending may still write: try again.
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }),
  };
}
