// The status page as a person sees it: a real worker's page in a real browser.
import { readFile } from "node:fs/promises";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { startBrowser } from "../support/browser.ts";
import { inCheckout } from "../support/checkout.ts";
import { findFreePort } from "../support/free-port.ts";
import { startLictor } from "../support/lictor.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const FETCH_TIMEOUT_MS = 300_000;
const ENGINE_TIMEOUT_MS = 90_000;
/** Some turns of a page that asks every two seconds. */
const REFRESH_TIMEOUT_MS = 10_000;

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
}, FETCH_TIMEOUT_MS);

afterAll(async () => await browser?.close());

/** A page that is opened once and never reloaded, and everything about it that nobody wants. */
async function openPage(url: string, viewport = { width: 1100, height: 800 }) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  const unwanted: string[] = [];
  page.on("console", (message) => message.type() === "error" && unwanted.push(message.text()));
  page.on("pageerror", (error) => unwanted.push(String(error)));
  page.on("request", (request) => !request.url().startsWith(url) && unwanted.push(request.url()));
  page.on("dialog", async (dialog) => {
    unwanted.push(`a dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  await page.goto(url);
  return { page, unwanted, [Symbol.asyncDispose]: () => context.close() };
}

/** The texts of the cells, row by row, without the head. */
async function rowsOf(page: Page, table: string): Promise<string[][]> {
  const rows = await page.getByRole("table", { name: table }).getByRole("row").all();
  const texts = rows.map(async (row) => await row.locator("td, tbody th, th[scope=row]").allInnerTexts());
  return (await Promise.all(texts)).filter((cells) => cells.length > 0);
}

async function phaseOf(page: Page): Promise<string> {
  return await page.locator("#phase").innerText();
}

async function onFreePort(): Promise<{ url: string; env: Record<string, string> }> {
  const port = String(await findFreePort());
  const env = { PREFECT_WORKER_WEBSERVER_HOST: "127.0.0.1", PREFECT_WORKER_WEBSERVER_PORT: port };
  return { url: `http://127.0.0.1:${port}/`, env };
}

/** What the accessibility library finds on the page as it is shown now. */
async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(inCheckout("node_modules/axe-core/axe.min.js"), "utf8"));
  const found = (await page.evaluate("axe.run()")) as { violations: { id: string; nodes: { html: string }[] }[] };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`);
}

const SECRET = "marked-secret-of-this-test";
const HOSTILE_NAME = "<img src=x onerror=alert(1)>";

describe("the status page", () => {
  test("shows by itself what becomes of the flow runs, whatever their names, and when the worker is gone", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const { url, env } = await onFreePort();
    const options = {
      apiUrl: inject("apiUrl"),
      args: ["--with-healthcheck", "--limit", "4"],
      env: { ...env, PREFECT_API_AUTH_STRING: `somebody:${SECRET}` },
    };
    await using worker = await startWorker(pool, options);
    await using opened = await openPage(url);
    const { page, unwanted } = opened;
    await page.getByRole("heading", { name: "test-worker" }).waitFor();
    await page.getByText("No flow run is in flight.").waitFor();
    expect(await phaseOf(page)).toBe("Working");
    const facts = (await page.locator("#facts").innerText()).split("\n");
    const { host } = new URL(inject("apiUrl"));
    expect(facts).toEqual(expect.arrayContaining([`${pool} (process)`, "all", host, "auth string", "ephemeral"]));

    const sleep = await deploy(api, pool, "sleep");
    await api.createFlowRun(sleep, { name: HOSTILE_NAME });
    const cancelled = await api.createFlowRun(sleep, { name: "to be cancelled" });
    await api.createFlowRun(await deploy(api, pool, "hello"), { name: `knows ${SECRET}` });
    await api.createFlowRun(await deploy(api, pool, "fail"), { name: "bound to fail" });
    await api.waitForState(cancelled.id, ["RUNNING"], ENGINE_TIMEOUT_MS);
    await api.setState(cancelled.id, "CANCELLING");

    const ended = await waitFor(
      async () => {
        const rows = await rowsOf(page, "Flow runs that ended last");
        return rows.length === 3 && rows;
      },
      { timeoutMs: ENGINE_TIMEOUT_MS, what: "three ended flow runs on the page" },
    );
    const stateOf = (name: string): string | undefined => ended.find(([title]) => title?.startsWith(name))?.[1];
    expect(stateOf("knows ********\nhello / hello-")).toBe("Completed");
    expect(stateOf("bound to fail\nfail / fail-")).toBe("Failed");
    expect(stateOf("to be cancelled\nsleep / sleep-")).toBe("Cancelled");
    for (const times of ended.map((cells) => cells.slice(2))) {
      expect(times).toEqual([
        expect.stringMatching(/^\d+:\d\d:\d\d/),
        expect.stringMatching(/^\d+\.?\d* s$/),
        expect.stringMatching(/^\d+\.?\d* s$/),
        expect.stringMatching(/^\d+\.?\d* s$/),
        expect.stringMatching(/^\d+:\d\d:\d\d/),
      ]);
    }
    const running = await waitFor(
      async () => (await rowsOf(page, "Flow runs in flight")).find(([, state]) => state === "Running"),
      { timeoutMs: ENGINE_TIMEOUT_MS, what: "the flow run of the hostile name to be running" },
    );
    expect(running[0]).toMatch(/^<img src=x onerror=alert\(1\)>\n/);
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.locator("#figures").innerText()).toMatch(
      /1 of 4[\s\S]*Claimed\s+4[\s\S]*Completed\s+1\s+Failed\s+1/,
    );
    await expectChart(page, 4);
    expect(await page.locator("#connections").innerText()).toMatch(/last poll \d+ s ago[\s\S]*(connected;[\s\S]*){3}/);
    expect(await page.content()).not.toContain(SECRET);
    expect(await (await fetch(`${url}status.json`)).text()).not.toContain(SECRET);
    expect(unwanted).toEqual([]);

    worker.signal("SIGKILL");
    await page.getByRole("alert").getByText("The worker no longer answers.").waitFor({ timeout: REFRESH_TIMEOUT_MS });
    expect(await phaseOf(page)).toBe("No answer");
    expect(await rowsOf(page, "Flow runs that ended last")).toHaveLength(3);
    await using _next = await startWorker(pool, options);
    await waitFor(async () => (await phaseOf(page)) === "Working", {
      timeoutMs: REFRESH_TIMEOUT_MS,
      what: "an answer",
    });
    expect(await page.getByRole("alert").isVisible()).toBe(false);
  }, 240_000);

  test("finds flow runs of several work pools and shows their logs, by the keyboard alone", async () => {
    const api = sharedApi();
    const pools = await Promise.all([newPool(api), newPool(api)]);
    const { url, env } = await onFreePort();
    const args = ["--pool", pools[1], "--with-healthcheck"];
    const apiUrl = inject("apiUrl");
    await using _worker = await startWorker(pools[0], {
      apiUrl,
      args,
      env: { ...env, PREFECT_API_AUTH_STRING: `somebody:${SECRET}` },
    });
    for (const [index, workPool] of pools.entries()) {
      const program = ["sh", "-c", `echo line of ${SECRET}; echo "WARNING nearly full"; exit ${index}`];
      const deployment = await api.createDeployment({
        flowName: workPool,
        name: "d",
        workPool,
        jobVariables: { program },
      });
      await api.createFlowRun(deployment, { name: `run-of-${index}` });
    }
    await using opened = await openPage(url);
    const { page, unwanted } = opened;
    const ended = async () => (await rowsOf(page, "Flow runs that ended last")).map(([name]) => name?.split("\n")[0]);
    await waitFor(async () => (await ended()).length === 2, {
      timeoutMs: ENGINE_TIMEOUT_MS,
      what: "two ended flow runs",
    });
    expect((await rowsOf(page, "Connections of each work pool")).map(([pool]) => pool)).toEqual(pools);

    await page.getByLabel("State").selectOption("Failed or crashed");
    expect(await ended()).toEqual(["run-of-1"]);
    await page.getByLabel("State").selectOption("All");
    await page.getByLabel("Work pool").selectOption(pools[0]);
    expect(await ended()).toEqual(["run-of-0"]);
    await page.getByLabel("Work pool").selectOption("All");
    await page.getByLabel("Search").fill("no such flow run");
    await page.getByText("No flow run matches the search.").waitFor();
    await page.getByLabel("Search").fill(`${pools[1]} FAILED`);
    expect(await ended()).toEqual(["run-of-1"]);

    await page.getByLabel("Search").focus();
    const focused = () => page.evaluate("document.activeElement.textContent");
    for (let tabs = 0; tabs < 10 && (await focused()) !== "run-of-1"; tabs++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    const logs = page.getByRole("dialog", { name: "run-of-1" });
    await logs.getByText("line of ********").waitFor();
    await logs.getByText(/WARNING nearly full$/).waitFor();
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await violationsOf(page)).toEqual([]);
    }
    await page.keyboard.press("Escape");
    await page.waitForResponse(/status\.json$/);
    expect(await focused()).toBe("run-of-1");
    for (const viewport of [
      { width: 360, height: 640 },
      { width: 1100, height: 800 },
    ]) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await violationsOf(page)).toEqual([]);
      }
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(viewport.width);
    }
    expect(unwanted).toEqual([]);
  });

  test("says that the worker is starting while the server does not answer, and fits a phone", async () => {
    await using server = await startScriptedServer({
      http: { "GET /api/work_pools/p": [{ hang: true, always: true }] },
    });
    const { url, env } = await onFreePort();
    const name = `a-long-name-without-any-place-to-break-it-${"x".repeat(60)}`;
    await using _worker = await startLictor(["worker", "start", "--pool", "p", "--name", name, "--with-healthcheck"], {
      env: { ...env, PREFECT_API_URL: `${server.url}/api`, PREFECT_API_KEY: SECRET },
    });
    await waitFor(() => fetch(url).catch(() => undefined), { timeoutMs: 20_000, what: "the page" });
    await using opened = await openPage(url, { width: 360, height: 640 });
    await opened.page.getByRole("heading", { name }).waitFor();
    expect(await phaseOf(opened.page)).toBe("Starting");
    expect(await opened.page.locator("#facts").innerText()).toMatch(/API key/);
    expect(await opened.page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    expect(opened.unwanted).toEqual([]);
  });

  test("does not pretend to poll a server that has not been reached yet", async () => {
    const { url, env } = await onFreePort();
    const apiUrl = `http://127.0.0.1:${await findFreePort()}/api`;
    const fast = { PREFECT_WORKER_HEARTBEAT_SECONDS: "2", PREFECT_CLIENT_MAX_RETRIES: "0" };
    const args = ["--with-healthcheck", "--type", "process"];
    await using _worker = await startWorker("p", { apiUrl, args, env: { ...env, ...fast } });
    await using opened = await openPage(url);
    await opened.page.getByText("no work pool has been read yet").waitFor();
    await opened.page.getByText("flow runs are found by polling").waitFor();
    await opened.page.getByText(/away for \d+ s; the worker keeps trying/).waitFor({ timeout: 60_000 });
    expect(await phaseOf(opened.page)).toBe("API away");
    expect(opened.unwanted).toEqual([]);
  });

  test("is served for this page's own script and style alone, and kept by nobody", async () => {
    const pool = await newPool(sharedApi());
    const { url, env } = await onFreePort();
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--with-healthcheck"], env });
    const page = await fetch(url);
    expect(page.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; img-src data:; connect-src 'self';/,
    );
    expect(page.headers.get("cache-control")).toBe("no-store");
    expect((await fetch(`${url}status.json`)).headers.get("cache-control")).toBe("no-store");
    expect((await fetch(`${url}lictor.js`)).status).toBe(404);
    expect((await fetch(url, { method: "POST" })).status).toBe(405);
    expect(await (await fetch(url, { method: "HEAD" })).text()).toBe("");
  });
});

/** So many bars of some height, and the same as words and as a table. */
async function expectChart(page: Page, count: number): Promise<void> {
  const bars = await page.locator("svg rect").all();
  expect(bars).toHaveLength(count);
  for (const bar of bars) expect((await bar.boundingBox())?.height).toBeGreaterThan(1);
  const chart = page.getByRole("img", { name: /^Bar chart\. Median \d.* slowest \d.* of the last 4 flow runs\.$/ });
  expect(await chart.isVisible()).toBe(true);
  await page.getByText("The same as a table").click();
  await page.waitForResponse(/status\.json$/);
  expect(await rowsOf(page, "Time to Running, newest first")).toHaveLength(count);
}
