// What a check of `lictor doctor` finds out: one line, and one of advice where there is something to do.

/** `skip`: could not be looked at, because something before it failed. */
export type Status = "pass" | "warn" | "fail" | "skip";

/** The shape of an entry of `lictor doctor --json`. */
export interface Finding {
  name: string;
  status: Status;
  message: string;
  advice: string | null;
}

/** All is well. */
export function pass(name: string, message: string): Finding {
  return { name, status: "pass", message, advice: null };
}

/** Works, but is worth a look. */
export function warn(name: string, message: string, advice: string | null): Finding {
  return { name, status: "warn", message, advice };
}

/** Does not work; null where the message itself says what to do. */
export function fail(name: string, message: string, advice: string | null): Finding {
  return { name, status: "fail", message, advice };
}

/** Was not looked at. */
export function skip(name: string, message: string): Finding {
  return { name, status: "skip", message, advice: null };
}
