// Makes docs/status-page.png: the status page of a real worker, in a real browser.
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { startBrowser } from "../support/browser.ts";
import { inCheckout } from "../support/checkout.ts";
import { findFreePort } from "../support/free-port.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { startWorker } from "../support/start-worker.ts";

/** The deployments of the picture, and the flows of test/fixtures/flows that they run. */
const deployments = { "nightly-report": "sleep", "import-orders": "hello", "send-invoices": "fail" } as const;

type Name = keyof typeof deployments;

/** The flow runs. Those of `sleep` say how long they take; they come last and are in flight in the picture. */
const flowRuns: readonly [name: Name, seconds?: number][] = [
  ["import-orders"],
  ["nightly-report", 2],
  ["import-orders"],
  ["send-invoices"],
  ["import-orders"],
  ["nightly-report", 90],
  ["nightly-report", 60],
];
const untilEndedMs = 60_000;
/** A Python has then imported the engine. */
const importMs = 10_000;

/** Draws the page while some flow runs have ended and others run. `apiUrl` is that of a server for tests. */
export async function drawStatusPage(apiUrl: string): Promise<void> {
  const api = prefectApi(apiUrl);
  const workPool = `reports-${randomUUID().slice(0, 4)}`;
  await api.createWorkPool(workPool);
  const ids = new Map<Name, string>();
  for (const [name, flow] of Object.entries(deployments) as [Name, string][]) {
    const code = { path: inCheckout("test/fixtures/flows"), entrypoint: `${flow}.py:${flow}` };
    ids.set(name, await api.createDeployment({ flowName: name, name: "production", workPool, ...code }));
  }
  const port = String(await findFreePort());
  const listensOn = { PREFECT_WORKER_WEBSERVER_HOST: "127.0.0.1", PREFECT_WORKER_WEBSERVER_PORT: port };
  // As users have it, and other than in tests.
  const env = { ...listensOn, LICTOR_ENGINE_LAZY: "false" };
  const options = { apiUrl, env, name: "worker-1", args: ["--with-healthcheck", "--limit", "4"] };
  await using _worker = await startWorker(workPool, options);
  await delay(importMs);
  for (const [name, seconds] of flowRuns) {
    const parameters: Record<string, number> = seconds === undefined ? {} : { seconds };
    const { id } = await api.createFlowRun(ids.get(name) ?? "", { parameters });
    const isInFlight = (seconds ?? 0) > 10;
    await api.waitForState(id, isInFlight ? ["RUNNING"] : ["COMPLETED", "FAILED"], untilEndedMs);
  }
  const browser = await startBrowser();
  try {
    const page = await browser.newPage({ viewport: { width: 900, height: 820 } });
    await page.goto(`http://127.0.0.1:${port}/`);
    // Two refreshes, so that all figures are there.
    await delay(5_000);
    await page.screenshot({ path: inCheckout("docs/status-page.png"), fullPage: true });
  } finally {
    await browser.close();
  }
}
