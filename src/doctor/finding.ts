// The result of a check of `lictor doctor`: one line, and a line of advice where there is something to do.

/** `skip` means that the check was not made, mostly because one before it failed. */
export type Status = "pass" | "warn" | "fail" | "skip";

/** The shape of an entry of `lictor doctor --json`. */
export interface Finding {
  name: string;
  status: Status;
  message: string;
  advice: string | null;
}

/** Everything is fine. */
export function pass(name: string, message: string): Finding {
  return { name, status: "pass", message, advice: null };
}

/** Works, but is worth a look. */
export function warn(name: string, message: string, advice: string | null): Finding {
  return { name, status: "warn", message, advice };
}

/** Does not work. `advice` is null where the message itself says what to do. */
export function fail(name: string, message: string, advice: string | null): Finding {
  return { name, status: "fail", message, advice };
}

/** Was not looked at. */
export function skip(name: string, message: string): Finding {
  return { name, status: "skip", message, advice: null };
}
