// The script of the status page. Requests the status again and again and shows it. Says so if there is no response.
import { byId, show } from "./elements.ts";
import { showFlowRuns } from "./flow-runs.ts";
import { latencyChart } from "./latency-chart.ts";
import { openLogsOnClick, refreshLogs } from "./logs.ts";
import { connections, facts, figures, phases } from "./sections.ts";
import type { Status } from "./status-json.ts";

const refreshMs = 2000;
/** A worker usually responds in milliseconds, but needs longer on a busy machine. */
const timeoutMs = 5000;
const minChartPx = 240;

/** When the last response arrived, on the browser's clock. */
let respondedAt: Date | undefined;
let latest: Status | undefined;

async function refresh(): Promise<void> {
  try {
    const response = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok) throw new Error(`status.json: ${response.status}`);
    latest = (await response.json()) as Status;
  } catch {
    showOutage();
    return;
  }
  respondedAt = new Date();
  showStatus(latest);
  await refreshLogs(latest);
}

function showStatus(status: Status): void {
  const { host } = status;
  const [word, tone] = phases[host.phase];
  showPhase(word, tone, nameOf(status));
  document.body.classList.remove("silent");
  byId("silence").hidden = true;
  show("version", host.version);
  show("worker", nameOf(status));
  show("facts", ...facts(status));
  show("figures", ...figures(status));
  show("connections", ...connections(status));
  showFlowRuns(status, showAgain);
  showChart(status);
  show("updated", `Refreshes itself; last answer at ${respondedAt?.toLocaleTimeString()}.`);
}

/** Shows the latest status again, because the reader wants to see something else of it. */
function showAgain(): void {
  if (latest) showFlowRuns(latest, showAgain);
}

/** Returns the name of the workers. All workers of one program have the same name. */
function nameOf(status: Status | undefined): string {
  return status?.workers[0]?.name ?? "worker";
}

function showChart({ host, workers }: Status): void {
  const latencies = workers.flatMap((worker) => worker.latencies);
  const figure = byId("latency");
  const isOpen = figure.querySelector("details")?.open ?? false;
  const style = getComputedStyle(figure);
  const padding = Number.parseFloat(style.paddingLeft) + Number.parseFloat(style.paddingRight);
  const widthPx = Math.max(minChartPx, Math.floor(figure.clientWidth - padding));
  show("latency", ...latencyChart(latencies, { widthPx, isOpen, today: host.now }));
}

function showOutage(): void {
  const since = respondedAt ? ` Its last answer, at ${respondedAt.toLocaleTimeString()}, is shown here.` : "";
  showPhase("No answer", "bad", nameOf(latest));
  document.body.classList.add("silent");
  byId("silence").hidden = false;
  show("silence", `The worker no longer answers.${since} This page keeps asking.`);
}

function showPhase(word: string, tone: string, worker: string): void {
  const pill = byId("phase");
  pill.className = `pill ${tone}`;
  show("phase", word);
  document.title = `${word}: ${worker} – lictor`;
}

let resume = (): void => {};

/** Waits until the next refresh. A hidden page waits until it is visible. */
async function pause(): Promise<void> {
  do {
    await new Promise<void>((resolve) => {
      resume = resolve;
      setTimeout(resolve, refreshMs);
    });
  } while (document.hidden);
}

document.addEventListener("visibilitychange", () => resume());
addEventListener("resize", () => latest && showChart(latest));
openLogsOnClick(() => latest);
byId("search").addEventListener("input", showAgain);
for (;;) {
  await refresh();
  await pause();
}
