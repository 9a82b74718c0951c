// The dialog with the latest log records of one flow run.
import { byId, element, show } from "./elements.ts";
import { formatTime } from "./format.ts";
import type { LogTail, Status } from "./status-json.ts";

const timeoutMs = 5000;
/** The browser counts a few pixels less than the whole height. */
const endPx = 8;

/** The flow run whose logs are shown. */
let shown: string | undefined;

function dialog(): HTMLDialogElement {
  return byId("logs") as HTMLDialogElement;
}

/** Opens the dialog when the name of a flow run is chosen. Escape closes it. `latest` returns the status on the page. */
export function openLogsOnClick(latest: () => Status | undefined): void {
  document.addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLElement>("[data-run]");
    if (!button?.dataset.run) return;
    shown = button.dataset.run;
    show("logs-title", button.textContent ?? "");
    show("logs-note", "Reading the logs …");
    show("logs-records");
    dialog().showModal();
    void refreshLogs(latest());
  });
  // Without this, some browsers do not scroll it by keys.
  byId("logs-records").tabIndex = 0;
  byId("logs-close").addEventListener("click", () => dialog().close());
  dialog().addEventListener("close", () => {
    // The table may have replaced the button that opened the dialog.
    if (shown) document.getElementById(`run-${shown}`)?.focus();
    shown = undefined;
  });
}

/** Reads the logs of the open dialog again. Does nothing if it is closed. */
export async function refreshLogs(status: Status | undefined): Promise<void> {
  const id = shown;
  if (id === undefined) return;
  let body: (LogTail & { detail?: string }) | undefined;
  try {
    const query = new URLSearchParams({ flow_run: id });
    const response = await fetch(`logs.json?${query}`, { cache: "no-store", signal: AbortSignal.timeout(timeoutMs) });
    body = await response.json();
  } catch {
    body = undefined;
  }
  if (shown !== id) return;
  if (!body?.records) {
    show("logs-note", body?.detail ?? "The worker does not answer.");
    return;
  }
  const { records } = body;
  show("logs-note", records.length === 0 ? "No log record yet." : `The last ${records.length} log records`);
  const box = byId("logs-records");
  const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - endPx;
  const today = status?.host.now ?? Date.now();
  show(
    "logs-records",
    ...records.map(({ at, level, message }) =>
      element("div", { class: `record ${level.toLowerCase()}` }, `${formatTime(at, today)} ${level} ${message}`),
    ),
  );
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}
