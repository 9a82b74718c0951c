// The YAML parser. Loaded only for a kubeconfig that is no JSON.
import { load, YAMLException } from "js-yaml";

/** Returns the value of one YAML document. Throws an error that says where the text is wrong, and quotes nothing of it. */
export function parseYaml(text: string): unknown {
  try {
    return load(text);
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const line = error.mark === undefined || error.mark === null ? "" : ` in line ${error.mark.line + 1}`;
    throw new Error(`${error.reason}${line}`);
  }
}
