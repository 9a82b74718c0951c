// Load on the machine: processes that do nothing but use a processor.
import { spawn } from "node:child_process";
import { endChild } from "./processes.ts";

/** Starts `count` of them. They end at dispose, and by themselves after ten minutes. */
export function startBusyProcesses(count: number): AsyncDisposable {
  const program = "const end = Date.now() + 600_000; while (Date.now() < end);";
  const children = Array.from({ length: count }, () => spawn(process.execPath, ["-e", program], { stdio: "ignore" }));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => endChild(child, child.pid ?? 0, 0)));
    },
  };
}
