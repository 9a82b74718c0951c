// Explains the exit status of a flow run's program. A status is negative for a death by signal, as in Python.

/** What an exit status means and what to do. `explanation` is part of a state message; `level` is for the log. */
export interface ExitExplanation {
  explanation: string;
  resolution: string;
  level: "info" | "error";
}

type Row = [explanation: string, level: "info" | "error", resolution: string];

// The explanations are the reference's texts, because scripts and automations match them in state messages.
// Source: prefect _internal/infrastructure_exit_codes.py.
const rows: ReadonlyMap<number, Row> = new Map([
  [0, ["Process exited cleanly.", "info", "Nothing to do."]],
  [
    -9,
    [
      "Process exited due to a SIGKILL signal. Typically caused by the operating system terminating the process for exceeding memory limits, or by manual cancellation.",
      "info",
      "Unless somebody cancelled the flow run, compare its memory use with the memory of the machine or container.",
    ],
  ],
  [
    -15,
    [
      "Process exited due to a SIGTERM signal. Typically caused by graceful shutdown or manual cancellation.",
      "info",
      "Unless somebody cancelled the flow run, look for a shutdown, a scale-down or a new release of the worker.",
    ],
  ],
  [1, ["Process exited with a general error.", "error", "Look for an exception in the logs of the flow run."]],
  [
    125,
    [
      "Container failed to run (Docker/OCI exit code 125).",
      "error",
      "Check the image name, its entrypoint and the container runtime.",
    ],
  ],
  [
    126,
    [
      "Command found but not executable (permission denied).",
      "error",
      "Make the program executable for the worker's user.",
    ],
  ],
  [127, ["Command not found.", "error", "Install the program, or correct the command or PATH."]],
  [
    137,
    [
      "Process was killed, likely due to an out-of-memory (OOM) condition.",
      "error",
      "Give the flow run more memory, or make it use less.",
    ],
  ],
  [
    143,
    [
      "Process received SIGTERM via the container runtime. This is the containerized equivalent of exit code -15.",
      "info",
      "Unless somebody cancelled the flow run, look for an eviction or a stopped container.",
    ],
  ],
  [
    247,
    [
      "Process was terminated due to high memory usage.",
      "error",
      "Give the flow run more memory, or find out what uses it.",
    ],
  ],
  // Windows: STATUS_CONTROL_C_EXIT.
  [
    0xc000013a,
    [
      "Process was terminated due to a Ctrl+C or Ctrl+Break signal. Typically caused by manual cancellation.",
      "info",
      "Nothing to do if this was meant.",
    ],
  ],
]);

const unexpected: Row = [
  "Process exited with an unexpected status code.",
  "error",
  "Look at the logs of the flow run and of the machine it ran on.",
];

/** Returns what an exit status means and what to do. Source: get_infrastructure_exit_info. */
export function explainExit(status: number): ExitExplanation {
  const [explanation, level, resolution] = rows.get(status) ?? unexpected;
  return { explanation, level, resolution };
}

/**
 * Returns the message of the last state for a status other than 0. `why` is what the infrastructure knows besides.
 * Source: prefect runner/_flow_run_executor.py for processes, workers/base.py for other infrastructure.
 */
export function exitMessage(status: number, isLocal: boolean, why?: string): string {
  const exited = isLocal
    ? `Process exited with status code: ${status}.`
    : `Flow run infrastructure exited with non-zero status code ${status}.`;
  return [exited, explainExit(status).explanation, ...(why ? [why] : [])].join(" ");
}

/**
 * Returns whether the status means that a signal ended the program. A shell, and so the main process of many containers, exits
 * with 128 and the number of the signal that ended its command. Source: POSIX, Shell Command Language 2.8.2.
 */
export function isSignal(status: number): boolean {
  return status < 0 || (status > 128 && status < 160);
}
