// Makes texts fit the rules of Kubernetes for names and labels. Source: prefect_kubernetes/utilities.py.
import { type SlugOptions, slugify } from "../../job/slug.ts";

/** Room for what makes a name unique. */
const longestBaseName = 45;
const name: SlugOptions = { kept: "a-zA-Z0-9", isLowerCase: true, maxLength: longestBaseName };
const labelText: SlugOptions = { kept: "A-Za-z0-9_.", isLowerCase: false, maxLength: 63 };
const labelPrefix: SlugOptions = { kept: "A-Za-z0-9.", isLowerCase: false, maxLength: 253 };

/** Returns the text as part of a name; empty if nothing is left of it. */
export async function toName(text: string): Promise<string> {
  return await slugify(text, name);
}

/** Returns labels with keys and values that Kubernetes accepts. One of which nothing is left stays as it is. */
export async function toLabels(labels: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const pairs = Object.entries(labels).map(async ([key, value]) => [await toKey(key), await toText(value)] as const);
  return Object.fromEntries(await Promise.all(pairs));
}

/** Returns annotations with keys that Kubernetes accepts. Their values may be any text. */
export async function toAnnotations(annotations: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const pairs = Object.entries(annotations).map(async ([key, value]) => [await toKey(key), value] as const);
  return Object.fromEntries(await Promise.all(pairs));
}

async function toKey(key: string): Promise<string> {
  const [, prefix, rest = key] = /^([^/]*)\/([\s\S]*)$/.exec(key) ?? [];
  const end = await toText(rest);
  return prefix ? `${await slugOr(prefix, labelPrefix)}/${end}` : end;
}

async function toText(text: string): Promise<string> {
  return await slugOr(text, labelText);
}

async function slugOr(text: string, options: SlugOptions): Promise<string> {
  return (await slugify(text, options)).replace(/^[_.-]+|[_.-]+$/g, "") || text;
}
