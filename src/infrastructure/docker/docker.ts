// What all flow runs of docker work pools share: the engine, the watch of containers, and the services of the program.
import type { Logger } from "../../logger.ts";
import type { InfrastructureServices } from "../pool-type.ts";
import type { ContainerWatch } from "./container-watch.ts";
import type { Engine } from "./engine/engine.ts";
import type { Patience } from "./engine/patience.ts";

/** The opened pool type. */
export interface Docker {
  readonly engine: Engine;
  readonly patience: Patience;
  readonly watch: ContainerWatch;
  readonly services: InfrastructureServices;
  /** Returns whether a process of the flow run is seen on this machine. Those of an engine elsewhere never are. */
  seesProcess(flowRunId: string): Promise<boolean>;
  /** For how long an ended container is kept. */
  readonly keepMs: number;
}

/** Returns the logger for messages about one flow run. The server gets them too. */
export function logOf({ services }: Pick<Docker, "services">, flowRunId: string): Logger {
  return services.log.child({ flow_run_id: flowRunId });
}
