// The results of checks of `lictor doctor`: one line, and a line of advice if there is something to do.

/** `skip` means that the check was not made, usually because an earlier check failed. */
export type Status = "pass" | "warn" | "fail" | "skip";

/** The shape of an entry of `lictor doctor --json`. */
export interface Finding {
  name: string;
  status: Status;
  message: string;
  advice: string | null;
}

/** Returns a finding that everything is fine. */
export function pass(name: string, message: string): Finding {
  return { name, status: "pass", message, advice: null };
}

/** Returns a finding about something that works but may cause problems. */
export function warn(name: string, message: string, advice: string | null): Finding {
  return { name, status: "warn", message, advice };
}

/** Returns a finding about something that does not work. `advice` is null if the message says what to do. */
export function fail(name: string, message: string, advice: string | null): Finding {
  return { name, status: "fail", message, advice };
}

/** Returns a finding for a check that was not made. */
export function skip(name: string, message: string): Finding {
  return { name, status: "skip", message, advice: null };
}
