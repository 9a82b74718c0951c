// Finds and replaces the placeholders of a base job template.
// Source: prefect utilities/templating; lookups follow utilities/collections get_from_dict.
import type { Json, JsonObject } from "../api/wire.ts";
import { NumberText } from "../exact-json.ts";
import { pythonText } from "../python-text.ts";

/** Reads from the server what placeholders refer to. `findVariable` returns undefined if there is no such variable. */
export interface ReferenceReaders {
  readBlockDocument(typeSlug: string, name: string): Promise<JsonObject>;
  readBlockDocumentById(id: string): Promise<JsonObject>;
  findVariable(name: string): Promise<Json | undefined>;
}

/** A placeholder that cannot be replaced. The message names the placeholder and no value, because it may be a secret. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

interface Placeholder {
  /** The placeholder with its braces. */
  text: string;
  name: string;
  /** False if the placeholder is the whole string. Then its value keeps its type. */
  embedded: boolean;
}

/** One pass over a template. It returns placeholders unchanged that it does not handle. */
interface Pass {
  /** Returns the replacement. Undefined removes the placeholder, and if it is the whole string, also its key or item. */
  replace(placeholder: Placeholder): Json | undefined;
  /** Returns a replacement for a whole object, whose content is then not searched. Undefined searches the object. */
  replaceObject?(object: JsonObject): JsonObject | undefined;
}

// Like Python's \w and \s, except for four control characters of \s that no template contains.
const placeholderPattern = /\{\{\p{White_Space}*([\p{L}\p{N}_.\-[\]$]+)\p{White_Space}*\}\}/gu;
const blockPrefix = "prefect.blocks.";
const variablePrefix = "prefect.variables.";

/** Returns true for a JSON object, false for arrays, null and scalars. A number that keeps its text is a scalar. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof NumberText);
}

/**
 * Returns the template with value and `{{ $ENV }}` placeholders replaced. Block and variable placeholders stay. A key or
 * item that is one placeholder without a value is removed. Inserted values are not searched. Source: apply_values.
 */
export function applyValues(
  template: JsonObject,
  values: JsonObject,
  environment: Readonly<Record<string, string | undefined>>,
): JsonObject {
  return substituteIn(template, {
    replace({ text, name }) {
      if (name.startsWith(blockPrefix) || name.startsWith(variablePrefix)) return text;
      if (!name.startsWith("$")) return lookUp(values, splitPath(name));
      const variable = name.replace(/^\$+/, "");
      return Object.hasOwn(environment, variable) ? (environment[variable] ?? "") : "";
    },
  });
}

/**
 * Returns the template with block placeholders and `{"$ref": {"block_document_id"}}` objects replaced. Reads each document
 * once. Throws TemplateError and what the readers throw. Source: resolve_block_document_references.
 */
export async function resolveBlocks(template: JsonObject, readers: ReferenceReaders): Promise<JsonObject> {
  const reads = new Map<string, () => Promise<JsonObject>>();
  substituteIn(template, {
    replace({ text, name }) {
      if (!name.startsWith(blockPrefix)) return text;
      const { document } = parseBlockName(name);
      reads.set(document.join("."), () => readers.readBlockDocument(...document));
      return text;
    },
    replaceObject(object) {
      const id = referencedId(object);
      if (id === undefined) return undefined;
      reads.set(id, () => readers.readBlockDocumentById(id));
      return object;
    },
  });
  const documents = await readAll(reads);
  return substituteIn(template, {
    replace(placeholder) {
      if (!placeholder.name.startsWith(blockPrefix)) return placeholder.text;
      const { document, path } = parseBlockName(placeholder.name);
      return blockValue(placeholder, documents.get(document.join(".")) ?? {}, path);
    },
    replaceObject: (object) => documents.get(referencedId(object) ?? ""),
  });
}

/**
 * Returns the template with variable placeholders replaced, unknown ones by an empty text. Reads each variable once.
 * Throws what the readers throw. Source: resolve_variables.
 */
export async function resolveVariables(template: JsonObject, readers: ReferenceReaders): Promise<JsonObject> {
  const reads = new Map<string, () => Promise<Json | undefined>>();
  substituteIn(template, {
    replace({ text, name }) {
      const variable = name.slice(variablePrefix.length);
      if (name.startsWith(variablePrefix)) reads.set(name, () => readers.findVariable(variable));
      return text;
    },
  });
  const values = await readAll(reads);
  return substituteIn(template, {
    replace({ text, name }) {
      if (!name.startsWith(variablePrefix)) return text;
      const value = values.get(name);
      return value === undefined ? "" : value;
    },
  });
}

/** Returns the parts of a path such as `a.b[0]`. Source: get_from_dict. */
export function splitPath(path: string): string[] {
  return path.replaceAll("[", ".").replaceAll("]", "").split(".");
}

function substituteIn(template: JsonObject, pass: Pass): JsonObject {
  const replacement = pass.replaceObject?.(template);
  if (replacement !== undefined) return replacement;
  const entries = Object.entries(template).flatMap(([key, item]) => {
    const value = substitute(item, pass);
    return value === undefined ? [] : [[key, value] as const];
  });
  return Object.fromEntries(entries);
}

function substitute(template: Json, pass: Pass): Json | undefined {
  if (isJsonObject(template)) return substituteIn(template, pass);
  if (Array.isArray(template)) {
    return template.flatMap((item) => {
      const value = substitute(item, pass);
      return value === undefined ? [] : [value];
    });
  }
  return typeof template === "string" ? substituteText(template, pass) : template;
}

/** Replaces all placeholders in one pass, so that an inserted value is never read as a placeholder. */
function substituteText(template: string, pass: Pass): Json | undefined {
  const [first] = template.matchAll(placeholderPattern);
  const name = first?.[1];
  if (first === undefined || name === undefined) return template;
  if (first[0] === template) return pass.replace({ text: template, name, embedded: false });
  return template.replace(placeholderPattern, (text, found: string) => {
    const value = pass.replace({ text, name: found, embedded: true });
    return value === undefined ? "" : pythonText(value);
  });
}

/** Returns the value at a path, or undefined. As in Python, a text has items, and -1 is the last item. */
function lookUp(value: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const part of path) {
    if (isJsonObject(current)) current = Object.hasOwn(current, part) ? current[part] : undefined;
    else if (Array.isArray(current) || typeof current === "string") current = itemAt([...current], part);
    else return undefined;
  }
  return current;
}

function itemAt(items: readonly Json[], part: string): Json | undefined {
  return /^-?\d+(_\d+)*$/.test(part) ? items.at(Number(part.replaceAll("_", ""))) : undefined;
}

function parseBlockName(name: string): { document: [typeSlug: string, name: string]; path: string | undefined } {
  const [typeSlug, document, ...path] = name.slice(blockPrefix.length).split(".");
  if (typeSlug === undefined || document === undefined) {
    throw new TemplateError(
      `"${name}" names no block: ${blockPrefix}<block type slug>.<block document name> expected.`,
    );
  }
  return { document: [typeSlug, document], path: path.length === 0 ? undefined : path.join(".") };
}

/** Data whose only key is `value` is replaced by that value, unless the path names `value` itself. */
function blockValue({ text, embedded }: Placeholder, data: JsonObject, path: string | undefined): Json {
  const isBare = Object.keys(data).length === 1 && data.value !== undefined;
  const root = isBare && !/^value($|[.[])/.test(path ?? "") ? data.value : data;
  const value = path === undefined ? root : lookUp(root ?? null, splitPath(path));
  if (value === undefined) {
    throw new TemplateError(`Could not resolve the keypath of ${text}: the block document has no "${path}".`);
  }
  if (embedded && (isJsonObject(value) || Array.isArray(value))) {
    const kind = Array.isArray(value) ? "a list" : "an object";
    throw new TemplateError(`${text} is ${kind}, which cannot be part of a text. Name a single value in it.`);
  }
  return value;
}

function referencedId(object: JsonObject): string | undefined {
  const reference = object.$ref;
  const id = isJsonObject(reference) ? reference.block_document_id : undefined;
  return typeof id === "string" && id !== "" ? id : undefined;
}

/** Runs all reads at the same time. Throws the first failure. */
async function readAll<T>(reads: ReadonlyMap<string, () => Promise<T>>): Promise<Map<string, T>> {
  return new Map(await Promise.all([...reads].map(async ([key, read]) => [key, await read()] as const)));
}
