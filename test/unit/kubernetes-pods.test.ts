// What the status of a pod and of a Job says: diagnoses, events and endings.
import { describe, expect, test } from "vitest";
import type { ContainerStatus, JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { describeDiagnosis, diagnose, diagnosisKey } from "../../src/infrastructure/kubernetes/diagnosis.ts";
import { diagnosePodEvents } from "../../src/infrastructure/kubernetes/explain-by-events.ts";
import { toEnding } from "../../src/infrastructure/kubernetes/job-ending.ts";
import { toJobRow } from "../../src/infrastructure/kubernetes/job-row.ts";
import { podEventId, relatedTo, toPodEvent } from "../../src/infrastructure/kubernetes/pod-event.ts";
import { type PodFacts, toPodFacts } from "../../src/infrastructure/kubernetes/pod-facts.ts";
import { exitMessage } from "../../src/run/exit-status.ts";

type PodStatus = NonNullable<PodObject["status"]>;

const podWith = (status: PodStatus): PodObject => ({
  metadata: {
    name: "p-1",
    uid: "pod-uid",
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:00Z",
    ownerReferences: [{ kind: "Job", name: "j", uid: "job-uid" }],
  },
  spec: { nodeName: "node-1" },
  status,
});

const waiting = (reason: string, message = ""): ContainerStatus => ({
  name: "prefect-job",
  state: { waiting: { reason, message } },
});
const terminated = (exitCode: number, reason: string, name = "prefect-job"): ContainerStatus => ({
  name,
  state: {
    terminated: { exitCode, reason, startedAt: "2026-01-01T00:00:05Z", finishedAt: "2026-01-01T00:00:09Z" },
  },
});
const unschedulable = (message: string): PodStatus => ({
  phase: "Pending",
  conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message }],
});
const disrupted = (reason: string): PodStatus => ({
  phase: "Failed",
  conditions: [{ type: "DisruptionTarget", status: "True", reason, message: "m" }],
});

describe("a pod's diagnosis", () => {
  test.each<[string, PodStatus, string | undefined]>([
    ["a missing image", { containerStatuses: [waiting("ErrImagePull", "not found")] }, "ImagePullError"],
    ["a missing image, later", { containerStatuses: [waiting("ImagePullBackOff")] }, "ImagePullError"],
    ["a name that is no image", { containerStatuses: [waiting("InvalidImageName")] }, "ImagePullError"],
    ["a missing secret", { containerStatuses: [waiting("CreateContainerConfigError")] }, "CreateContainerConfigError"],
    ["a missing program", { containerStatuses: [waiting("CreateContainerError")] }, "CreateContainerError"],
    ["a crash loop", { containerStatuses: [waiting("CrashLoopBackOff")] }, "CrashLoopBackOff"],
    ["a failing preparation", { initContainerStatuses: [waiting("ErrImagePull")] }, "ImagePullError"],
    ["memory", { containerStatuses: [terminated(137, "OOMKilled")] }, "OOMKilled"],
    ["an evicted container", { containerStatuses: [terminated(137, "Evicted")] }, "Evicted"],
    ["an evicted pod", { phase: "Failed", reason: "Evicted", message: "disk" }, "Evicted"],
    ["a taint", unschedulable("0/1 nodes are available: 1 had untolerated taint {a: b}"), "Unschedulable.Taint"],
    ["a node selector", unschedulable("1 didn't match Pod's node affinity/selector"), "Unschedulable.NodeAffinity"],
    [
      "too few nodes",
      unschedulable("0/3 nodes are available: 3 Insufficient cpu."),
      "Unschedulable.InsufficientResources",
    ],
    ["another reason of the scheduler", unschedulable("pod has unbound claims"), "Unschedulable"],
    ["a preemption", disrupted("PreemptionByScheduler"), "Preempting"],
    ["a critical pod", { phase: "Failed", reason: "Preempting" }, "Preempting"],
    ["a drain", disrupted("EvictionByEvictionAPI"), "Evicted"],
    ["a lost node", disrupted("DeletionByTaintManager"), "NodeLost"],
    ["a plain failure", { containerStatuses: [terminated(1, "Error")] }, undefined],
    ["a start", { containerStatuses: [waiting("ContainerCreating")] }, undefined],
    ["nothing", {}, undefined],
  ])("of %s", (_, status, category) => {
    expect(diagnose(status)?.category).toBe(category);
  });

  test("stays the same when only its numbers change", () => {
    const [one, other, third] = [
      "0/3 nodes, 3 Insufficient cpu",
      "0/5 nodes, 5 Insufficient cpu",
      "0/3 nodes, taint",
    ].map((message) => diagnose(unschedulable(message)));
    expect(
      one && other && third && [diagnosisKey(other) === diagnosisKey(one), diagnosisKey(third) === diagnosisKey(one)],
    ).toEqual([true, false]);
  });

  // The texts are those of Kubernetes 1.34.
  test("is the same for a failed pull and the wait for the next one", () => {
    const cause = 'failed to pull and unpack image "i:1": not found';
    const keyOf = (reason: string, message: string) => {
      const found = diagnose({ phase: "Pending", containerStatuses: [waiting(reason, message)] });
      return found && diagnosisKey(found);
    };
    const failed = keyOf("ErrImagePull", cause);
    expect(keyOf("ImagePullBackOff", `Back-off pulling image "i:1": ErrImagePull: ${cause}`)).toBe(failed);
    expect(keyOf("ErrImagePull", "connection refused")).not.toBe(failed);
  });
});

describe("a pod that was deleted by somebody", () => {
  const failed = { kind: "failed", reason: "BackoffLimitExceeded", message: "" } as const;
  const deleted = (exitCode: number, reason: string): PodFacts => {
    const { metadata, ...pod } = podWith({ phase: "Failed", containerStatuses: [terminated(exitCode, reason)] });
    return toPodFacts({ ...pod, metadata: { ...metadata, deletionTimestamp: "2026-01-01T00:01:00Z" } });
  };

  test("ends by the node's signal, which is no lack of memory", () => {
    expect(toEnding(failed, [deleted(137, "Error")], { waitedFor: null })).toMatchObject({
      kind: "gone",
      why: "Pod 'p-1' on node 'node-1' ended with exit code 137 (Error). The pod was deleted.",
    });
  });

  test.each([
    [3, "Error"],
    [137, "OOMKilled"],
  ])("has exit code %i (%s) if it ends by itself", (status, reason) => {
    const ending = toEnding(failed, [deleted(status, reason)], { waitedFor: null });
    expect(ending).toMatchObject({ kind: "exited", status, isCrash: true });
  });
});

describe("a pod whose Job was deleted", () => {
  const end = { kind: "deleted", why: "It was deleted." } as const;
  const endedWith = (exitCode: number, reason: string, metadata: object = {}): PodFacts => {
    const phase = exitCode === 0 ? "Succeeded" : "Failed";
    const pod = podWith({ phase, containerStatuses: [terminated(exitCode, reason)] });
    return toPodFacts({ ...pod, metadata: { ...pod.metadata, ...metadata } });
  };

  test.each([
    [0, "Completed", { kind: "exited", status: 0 }],
    [3, "Error", { kind: "exited", status: 3, why: expect.stringContaining("It was deleted.") }],
    [137, "OOMKilled", { kind: "exited", status: 137, isCrash: true }],
  ])("has exit code %i (%s) if it had ended before", (exitCode, reason, ending) => {
    expect(toEnding(end, [endedWith(exitCode, reason)], { waitedFor: null })).toMatchObject(ending);
  });

  test("is gone if it was told to end, whatever its exit code", () => {
    const told = endedWith(0, "Completed", { deletionTimestamp: "2026-01-01T00:01:00Z" });
    expect(toEnding(end, [told], { waitedFor: null })).toMatchObject({ kind: "gone", mayHaveBegun: true });
  });
});

describe("a container that was lost with its pod", () => {
  const lost = (message: string, more: object = {}): PodFacts => {
    const state = { terminated: { exitCode: 137, reason: "ContainerStatusUnknown", message } };
    return toPodFacts(podWith({ phase: "Failed", containerStatuses: [{ name: "prefect-job", state, ...more }] }));
  };

  test.each<[string, PodFacts, boolean]>([
    ["did not run before it was made", lost("The container could not be located when the pod was terminated"), false],
    [
      "ran if it was made",
      lost("The container could not be located when the pod was terminated", { containerID: "c" }),
      true,
    ],
    [
      "ran if the node says so",
      lost("The container could not be located when the pod was deleted.  The container used to be Running"),
      true,
    ],
  ])("%s", (_, facts, hasStarted) => {
    expect([facts.hasStarted, facts.end?.exitCode]).toEqual([hasStarted, hasStarted ? 137 : undefined]);
    const { why } = toEnding({ kind: "deleted", why: "It was deleted." }, [facts], { waitedFor: null }) as {
      why: string;
    };
    expect(why).toContain(hasStarted ? "ended with exit code 137" : "never started");
  });
});

describe("the event about a pod", () => {
  const labels = {
    "prefect.io/flow-run-id": "r",
    "prefect.io/flow-run-name": "my-run",
    "prefect.io/flow-id": "f",
    "prefect.io/flow-name": "flow",
    "prefect.io/work-pool-id": "w",
    "prefect.io/work-pool-name": "pool",
    "prefect.io/worker-name": "Worker-1.a",
  };
  const eventOf = async (status: PodStatus) =>
    toPodEvent(toPodFacts(podWith(status)), { namespace: "ns", related: await relatedTo(labels) });

  test("has the reference's id", () => {
    // uuid5(NAMESPACE_URL, json.dumps({...}, sort_keys=True)) of Python 3.11.
    const facts = { uid: "pod-uid", phase: "Pending", restarts: 0, diagnosis: null } as unknown as PodFacts;
    expect(podEventId(facts)).toBe("c9bd0740-38df-5ff2-a5ed-8d4523fdb0b0");
    const ill = { ...facts, restarts: 2, diagnosis: { category: "ImagePullError" } } as unknown as PodFacts;
    expect(podEventId(ill)).toBe("bd50de20-7689-5201-9557-2aedf587e4f7");
  });

  test("has the reference's resource and related objects", async () => {
    expect(await eventOf({ phase: "Pending", containerStatuses: [waiting("ErrImagePull")] })).toEqual({
      event: "prefect.kubernetes.pod.pending",
      resource: {
        "prefect.resource.id": "prefect.kubernetes.pod.pod-uid",
        "prefect.resource.name": "p-1",
        "kubernetes.namespace": "ns",
        "kubernetes.diagnosis": "ImagePullError",
      },
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      occurred: "2026-01-01T00:00:00Z",
      related: [
        ["flow-run", "r", "my-run"],
        ["flow", "f", "flow"],
        ["work-pool", "w", "pool"],
      ]
        .map(
          ([kind, id, name]): Record<string, unknown> => ({
            "prefect.resource.id": `prefect.${kind}.${id}`,
            "prefect.resource.role": kind,
            "prefect.resource.name": name,
          }),
        )
        .concat({
          "prefect.resource.id": "prefect.worker.kubernetes.worker-1-a",
          "prefect.resource.role": "worker",
          "prefect.resource.name": "Worker-1.a",
          "prefect.worker-type": "kubernetes",
          "prefect.version": expect.any(String),
        }),
    });
  });

  test.each<[PodStatus, string, string | undefined, string | null]>([
    [
      {
        phase: "Running",
        containerStatuses: [{ name: "c", state: { running: { startedAt: "2026-01-01T00:00:05Z" } } }],
      },
      "running",
      undefined,
      "2026-01-01T00:00:05Z",
    ],
    [{ phase: "Running", startTime: "2026-01-01T00:00:01Z" }, "running", undefined, "2026-01-01T00:00:01Z"],
    [
      { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] },
      "succeeded",
      undefined,
      "2026-01-01T00:00:09Z",
    ],
    [{ phase: "Failed", containerStatuses: [terminated(1, "Error")] }, "failed", "Error", "2026-01-01T00:00:09Z"],
    [{ phase: "Failed", reason: "Evicted" }, "evicted", "Evicted", null],
    [
      { ...disrupted("PreemptionByScheduler"), containerStatuses: [terminated(143, "Error")] },
      "evicted",
      "Error",
      "2026-01-01T00:00:09Z",
    ],
  ])("of %j", async (status, phase, reason, occurred) => {
    const { event, resource, occurred: at } = await eventOf(status);
    expect(event).toBe(`prefect.kubernetes.pod.${phase}`);
    expect(resource?.["kubernetes.reason"]).toBe(reason);
    expect(at).toBe(occurred);
  });
});

describe("the ending of a Job", () => {
  const jobWith = (status: NonNullable<JobObject["status"]>, backoffLimit?: number) =>
    toJobRow({
      metadata: { name: "j", uid: "job-uid", resourceVersion: "1" },
      spec: backoffLimit === undefined ? {} : { backoffLimit },
      status,
    }).outcome;
  const condition = (type: string, reason = "", message = "") => ({ type, status: "True" as const, reason, message });
  const failed = {
    conditions: [condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")],
  };

  test.each<[string, NonNullable<JobObject["status"]>, number | undefined, string | undefined]>([
    ["runs", { active: 1 }, 0, undefined],
    ["has succeeded", { succeeded: 1, conditions: [condition("Complete")] }, 0, "complete"],
    ["has failed", failed, 0, "failed"],
    ["has failed, and the condition is not there yet", { failed: 1 }, 0, "failed"],
    ["is tried again", { failed: 1, active: 1 }, 1, undefined],
    ["is tried again by Kubernetes' own limit", { failed: 6 }, undefined, undefined],
    ["has failed too often for that limit", { failed: 7 }, undefined, "failed"],
  ])("that %s", (_, status, limit, kind) => {
    expect(jobWith(status, limit)?.kind).toBe(kind);
  });

  const podsWith = (...statuses: PodStatus[]) => statuses.map((status) => toPodFacts(podWith(status)));
  const outcome = jobWith(failed, 0) ?? { kind: "complete" };

  test.each<[string, PodStatus, number, string]>([
    [
      "an error",
      { phase: "Failed", containerStatuses: [terminated(1, "Error")] },
      1,
      "Process exited with a general error. Pod 'p-1' on node 'node-1' ended with exit code 1 (Error).",
    ],
    [
      "memory",
      { phase: "Failed", containerStatuses: [terminated(137, "OOMKilled")] },
      137,
      "Pod 'p-1' on node 'node-1' ended with exit code 137 (OOMKilled). Container 'prefect-job' used more memory than its limit (OOMKilled). Raise its memory limit, or make the flow run use less.",
    ],
    [
      "a preemption",
      { ...disrupted("PreemptionByScheduler"), containerStatuses: [terminated(143, "Error")] },
      143,
      "A pod of higher priority took its place (Preempting).",
    ],
    [
      "a failing preparation",
      {
        phase: "Failed",
        initContainerStatuses: [terminated(0, "Completed", "first"), terminated(9, "Error", "second")],
        containerStatuses: [waiting("PodInitializing")],
      },
      9,
      "Pod 'p-1' on node 'node-1' ended with exit code 9 (Error) in container 'second'.",
    ],
    [
      "a helper's failure",
      { phase: "Failed", containerStatuses: [terminated(0, "Completed"), terminated(3, "Error", "sidecar")] },
      3,
      "exit code 3",
    ],
  ])("by %s has an exit code and a reason", (_, status, exitCode, text) => {
    const ending = toEnding(outcome, podsWith(status), { waitedFor: null });
    expect(ending).toMatchObject({ kind: "exited", status: exitCode });
    expect(exitMessage(exitCode, false, ending.why)).toContain(text);
  });

  test.each<[string, PodStatus[], RegExp]>([
    [
      "an eviction",
      [{ phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." }],
      /evicted.*low on resource/,
    ],
    [
      "a lost node",
      [disrupted("DeletionByTaintManager")],
      /'node-1' never started\. The node of the pod does not answer/,
    ],
    ["nothing that is known", [], /the quota/],
  ])("by %s has no exit code", (_, statuses, why) => {
    expect(
      toEnding(outcome, podsWith(...statuses), { waitedFor: "Kubernetes cannot create the pod: the quota." }),
    ).toMatchObject({
      kind: "gone",
      why: expect.stringMatching(why),
      mayHaveBegun: true,
    });
  });

  test("of a program that cannot be started says why, and that nothing has run", () => {
    const message = 'exec: "nope": executable file not found in $PATH';
    const state = { terminated: { exitCode: 128, reason: "StartError", message, startedAt: "1970-01-01T00:00:00Z" } };
    const pods = podsWith({ phase: "Failed", containerStatuses: [{ name: "prefect-job", state }] });
    expect(pods[0]?.hasStarted).toBe(false);
    expect(toEnding(outcome, pods, { waitedFor: null })).toMatchObject({
      status: 128,
      why: `Pod 'p-1' on node 'node-1' ended with exit code 128 (StartError): ${message}.`,
    });
  });

  test("by its deadline says so", () => {
    const late = jobWith({ conditions: [condition("Failed", "DeadlineExceeded", "too long")] }, 0);
    const ending =
      late &&
      toEnding(late, podsWith({ phase: "Failed", containerStatuses: [terminated(143, "Error")] }), { waitedFor: null });
    expect(ending).toMatchObject({ status: 143, why: expect.stringContaining("(DeadlineExceeded)") });
  });

  test("without a failure is a success, whatever the pods said", () => {
    expect(
      toEnding({ kind: "complete" }, podsWith({ phase: "Failed", containerStatuses: [terminated(1, "Error")] }), {
        waitedFor: null,
      }),
    ).toEqual({
      kind: "exited",
      status: 0,
      reported: null,
    });
  });
});

test.each<[string, [string, string][], string | null]>([
  ["no event", [], null],
  [
    "a pull that takes long",
    [
      ["Scheduled", ""],
      ["Pulling", 'Pulling image "i:1"'],
    ],
    null,
  ],
  [
    "a volume without its config map",
    [
      ["Scheduled", ""],
      ["FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'],
    ],
    'The volumes of the pod cannot be mounted (FailedMount). MountVolume.SetUp failed for volume "v" : configmap "c" not found. Check that the secrets, config maps and claims exist that the volumes of the job manifest name.',
  ],
  [
    "a volume that was late",
    [
      ["FailedMount", "not yet"],
      ["Pulling", ""],
    ],
    null,
  ],
  [
    "a node without a network",
    [["FailedCreatePodSandBox", "Failed to create pod sandbox:\n no plugin."]],
    "The node cannot make the pod (FailedCreatePodSandBox). Failed to create pod sandbox: no plugin. Look at the network plugin and the container runtime of the node.",
  ],
])("the events about a pod say why it waits: %s", (_, events, text) => {
  const metadata = { name: "e", uid: "u", resourceVersion: "1" };
  const found = diagnosePodEvents(events.map(([reason, message]) => ({ metadata, reason, message })));
  expect(found && describeDiagnosis(found)).toBe(text);
});
