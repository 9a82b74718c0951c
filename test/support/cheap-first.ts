// The order of the test files: those without a Prefect server come first, because they find most faults within a minute.
import { BaseSequencer, type TestSpecification } from "vitest/node";

const folders = ["unit", "process", "fault"];

/** Within the same rank, vitest's own order counts: what failed or took long the last time, otherwise the larger file. */
export class CheapFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
  }
}

function rank({ moduleId }: TestSpecification): number {
  const index = folders.findIndex((folder) => moduleId.includes(`/test/${folder}/`));
  return index === -1 ? folders.length : index;
}
