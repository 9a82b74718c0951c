// The colours of states.

/** A class of the page's style. */
export type Tone = "good" | "bad" | "warn" | "calm" | "busy";

const tones: Readonly<Record<string, Tone>> = {
  COMPLETED: "good",
  FAILED: "bad",
  CRASHED: "bad",
  CANCELLED: "warn",
  CANCELLING: "warn",
  PAUSED: "warn",
  RUNNING: "busy",
};

/** Returns the colour of a state type. */
export function toneOf(stateType: string): Tone {
  return tones[stateType] ?? "calm";
}
