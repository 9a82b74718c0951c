// The events about containers. Source: prefect_docker/worker.py _emit_container_status_change_event.
import type { InfrastructureEvent } from "../pool-type.ts";
import { type ContainerDetails, nameOf } from "./container-details.ts";

/** No container could be created. */
export const creationFailed: InfrastructureEvent = {
  event: "prefect.docker.container.creation-failed",
  resource: null,
};

/** Returns the event about the status that a container has now, or about `status`. */
export function statusEvent(
  details: Pick<ContainerDetails, "Id" | "Name" | "State">,
  status = details.State.Status,
): InfrastructureEvent {
  return {
    event: `prefect.docker.container.${status.toLowerCase()}`,
    resource: {
      "prefect.resource.id": `prefect.docker.container.${details.Id}`,
      "prefect.resource.name": nameOf(details),
    },
  };
}
