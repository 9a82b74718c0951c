// Must be loaded before all files that make signals.
import { useLightSignals } from "./light-signals.ts";

useLightSignals();
