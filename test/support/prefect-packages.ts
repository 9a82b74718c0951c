// Which packages the Python environment of the tests is made of: the locked Prefect, or an older release of it.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { inCheckout } from "./checkout.ts";

/** What to install, and under which name the environment is kept. */
export interface PrefectPackages {
  /** Tells environments apart; the same for the same packages. */
  name: string;
  /** Completes the sentence "Installing …". */
  what: string;
  /** What `uv pip install` is told. */
  uv: readonly string[];
  /** What `pip install` is told where uv cannot be had; undefined if pip cannot do it. */
  pip: readonly string[] | undefined;
}

// It has had wheels for Python 3.13 since 3.1.0 only.
const PENDULUM = "--exclude-newer-package=pendulum=2025-05-02";
// The last is 2.0.37. 2.0.38 and later ones before 2.1 keep connections to SQLite in a pool, and a server stands still for its
// busy timeout of 60 s with them. It does not without the garbage collector, which seems to close, on the thread of the event
// loop, a cursor of a connection that waits for a lock.
const SQLALCHEMY = "--exclude-newer-package=sqlalchemy=2025-02-04";

// Each release with the packages of its own days: later ones of what it depends on often break it. The bound is the end
// of a day some days after the release, so that the newest packages of that time had met it already.
const OLDER_RELEASES: Readonly<Record<string, readonly string[]>> = {
  "3.0.11": ["--exclude-newer=2024-10-30", PENDULUM],
  "3.1.15": ["--exclude-newer=2025-02-04", PENDULUM],
  "3.2.15": ["--exclude-newer=2025-04-01", PENDULUM, SQLALCHEMY],
  "3.3.7": ["--exclude-newer=2025-05-02", SQLALCHEMY],
  "3.4.25": ["--exclude-newer=2025-10-28", SQLALCHEMY],
  "3.5.0": ["--exclude-newer=2025-11-05", SQLALCHEMY],
  "3.6.29": ["--exclude-newer=2026-05-06", SQLALCHEMY],
  "3.7.8": ["--exclude-newer=2026-07-14", SQLALCHEMY],
  // With SQLAlchemy 2.1, its scheduler creates no flow runs: "Can't evaluate bulk DML statement".
  "3.8.8": ["--exclude-newer=2026-10-11", SQLALCHEMY],
};

const DOCKER_WORKER = ["prefect-docker==0.7.4", "docker==7.2.0"];
// The last are what they depend on and the lock does not have.
const KUBERNETES_WORKER = [
  ...["prefect-kubernetes==0.8.0", "kubernetes-asyncio==36.1.0", "kopf==1.45.2"],
  ...["aiohttp==3.14.5", "aiosignal==1.4.0", "aiohappyeyeballs==2.7.1", "frozenlist==1.8.0", "multidict==7.2.1"],
  ...["yarl==1.25.1", "propcache==0.5.4", "iso8601==2.1.0", "tenacity==9.2.1"],
];

const LOCK_FILE = "test/python/requirements.lock";

/** The releases that the tests can run against, oldest first; the last is the locked one. */
export async function testedReleases(): Promise<string[]> {
  return [...Object.keys(OLDER_RELEASES), lockedRelease(await readFile(inCheckout(LOCK_FILE), "utf8"))];
}

/** The packages for a release, by default for the locked one. Throws for a release that is not among the tested. */
export async function prefectPackages(release: string | undefined): Promise<PrefectPackages> {
  const lock = await readFile(inCheckout(LOCK_FILE), "utf8");
  const locked = lockedRelease(lock);
  if (!release || release === locked) {
    const args = ["--no-deps", "-r", inCheckout(LOCK_FILE)];
    return { name: `python-${digest(lock)}`, what: `the packages of ${LOCK_FILE}`, uv: args, pip: args };
  }
  const bounds = OLDER_RELEASES[release];
  if (bounds === undefined) {
    throw new Error(`Prefect '${release}' is none of ${[...Object.keys(OLDER_RELEASES), locked].join(", ")}.`);
  }
  const uv = [`prefect==${release}`, ...bounds];
  return { name: `prefect-${release}-${digest(uv.join(" "))}`, what: `Prefect ${release}`, uv, pip: undefined };
}

/** The packages for the reference's docker worker. What they depend on is in the lock too. */
export async function dockerWorkerPackages(): Promise<PrefectPackages> {
  return await workerPackages("docker", DOCKER_WORKER);
}

/** The packages for the reference's kubernetes worker. */
export async function kubernetesWorkerPackages(): Promise<PrefectPackages> {
  return await workerPackages("kubernetes", KUBERNETES_WORKER);
}

async function workerPackages(type: string, packages: readonly string[]): Promise<PrefectPackages> {
  const lock = await readFile(inCheckout(LOCK_FILE), "utf8");
  const args = ["--no-deps", "-r", inCheckout(LOCK_FILE), ...packages];
  return { name: `${type}-worker-${digest(args.join(" ") + lock)}`, what: packages.join(" "), uv: args, pip: args };
}

function lockedRelease(lock: string): string {
  const release = /^prefect==(\S+)$/m.exec(lock)?.[1];
  if (release === undefined) throw new Error(`${LOCK_FILE} names no prefect.`);
  return release;
}

/** Twelve digits; another Python is another environment. */
function digest(packages: string): string {
  const hash = createHash("sha256").update(packages);
  return hash
    .update(process.env.LICTOR_TEST_PYTHON ?? "")
    .digest("hex")
    .slice(0, 12);
}
