// The environment variables by which systemd asks a service of Type=notify for messages.
// Source: sd_notify(3), sd_watchdog_enabled(3).

const names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

type Environment = Readonly<Record<string, string | undefined>>;

/** What systemd expects. */
export interface SystemdRequest {
  /** The path of a Unix datagram socket, or `@` and an abstract name. */
  readonly notifySocket: string;
  /** systemd restarts the service when it hears nothing for this time. Undefined without a watchdog for this process. */
  readonly watchdogMs: number | undefined;
}

/** Returns what systemd expects of the process with this pid. Returns undefined if systemd expects no messages. */
export function readSystemdRequest(env: Environment, pid: number): SystemdRequest | undefined {
  const { NOTIFY_SOCKET: notifySocket, WATCHDOG_USEC: usec, WATCHDOG_PID: watchdogPid } = env;
  if (!notifySocket) return undefined;
  const isOurs = !watchdogPid || watchdogPid === String(pid);
  const watchdogMs = isOurs && usec && /^[1-9]\d*$/.test(usec) ? Number(usec) / 1000 : undefined;
  return { notifySocket, watchdogMs };
}

/** Returns the environment without these variables. A flow run must not send messages in the name of the worker. */
export function withoutSystemdVariables(env: Environment): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}
