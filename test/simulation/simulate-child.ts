// A process that runs ranges of seeds for `npm run simulate`.
import "./use-light-signals.ts";
import { runSeeds } from "./seeds.ts";

process.on("message", ({ first, last }: { first: number; last: number }) => {
  void runSeeds(first, last).then((result) => process.send?.(result));
});
