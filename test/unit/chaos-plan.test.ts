// The plan of a chaos run.
import { expect, test } from "vitest";
import { allRunKinds, type FaultKind, faultKinds, faultKindsOf, makePlan, poolTypes } from "../chaos/plan.ts";

const kinds = Object.keys(faultKinds) as FaultKind[];
const options = { seed: 1, minutes: 1, runs: 20, faults: 40, kinds };

test("the same seed gives the same plan, and another seed another one", () => {
  expect(makePlan(options)).toEqual(makePlan(options));
  expect(makePlan({ ...options, seed: 2 })).not.toEqual(makePlan(options));
});

test("a plan has as many flow runs and faults as asked for, and every kind of both", () => {
  const plan = makePlan(options);
  expect(plan.runs).toHaveLength(20);
  expect(plan.faults).toHaveLength(40);
  expect(new Set(plan.faults.map(({ kind }) => kind))).toEqual(new Set(kinds));
  expect(new Set(plan.runs.map(({ kind }) => kind))).toEqual(new Set(allRunKinds));
});

test("each kind of fault is for some type of work pool, and those of containers and Jobs for one only", () => {
  const [ofProcesses, ofContainers, ofJobs] = poolTypes.map((type) => faultKindsOf(type));
  expect(new Set([ofProcesses, ofContainers, ofJobs].flat())).toEqual(new Set(kinds));
  for (const each of [ofProcesses, ofContainers, ofJobs]) expect(each).toContain("worker-kill");
  expect(ofProcesses).toContain("engine-kill");
  expect(ofProcesses).not.toContain("container-kill");
  expect(ofContainers).not.toContain("engine-kill");
  expect(ofContainers).not.toContain("pod-evict");
  expect(ofJobs).toContain("disk-lost");
  expect(ofJobs).not.toContain("container-kill");
});
