// The filter of flow runs, as far as the model of the server knows it.
import type { JsonObject } from "../../src/api/wire.ts";
import type { ModelRun } from "./state-rules.ts";

type AnyOf = { any_?: string[] } | null | undefined;
type StateFilter = { operator?: "and_" | "or_"; type?: AnyOf; name?: AnyOf };

/** Returns whether the body of `POST /flow_runs/filter` selects the flow run. */
export function matches(run: ModelRun, body: JsonObject, poolName: string | undefined): boolean {
  const { id, state } = (body.flow_runs ?? {}) as { id?: AnyOf; state?: StateFilter };
  const pools = (body.work_pools ?? {}) as { name?: AnyOf };
  return (
    isIn(run.id, id) &&
    (state?.operator === "or_"
      ? isIn(run.state_type, state.type) || isIn(run.state_name, state.name)
      : isIn(run.state_type, state?.type) && isIn(run.state_name, state?.name)) &&
    isIn(poolName, pools.name)
  );
}

function isIn(value: string | undefined, filter: AnyOf): boolean {
  return !filter?.any_ || (value !== undefined && filter.any_.includes(value));
}
