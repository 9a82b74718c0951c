// Reads .env files as Prefect does. `parseEnv` of node:util cannot be used: it ends a value without quotes at any `#`,
// which cuts passwords short, and it does not replace ${NAME}.

const ASSIGNMENT =
  /^[^\S\r\n]*(?:export[^\S\r\n]+)?(?:'([^']+)'|([^=#\s]+))[^\S\r\n]*=[^\S\r\n]*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|([^\r\n]*))/gms;
const REFERENCE = /\$\{([^}:]*)(?::-([^}]*))?\}/g;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", f: "\f", v: "\v", b: "\b", a: "\u0007" };

/**
 * Returns the assignments in `text`, in order. `${NAME}` and `${NAME:-default}` are replaced by earlier assignments, else by
 * `env`. Other lines are ignored.
 */
export function parseDotEnv(text: string, env: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const variables = new Map<string, string>();
  for (const [, quotedKey, plainKey, single, double, plain = ""] of text.matchAll(ASSIGNMENT)) {
    const value =
      single?.replace(/\\([\\'])/g, "$1") ??
      double?.replace(/\\([\\'"abfnrtv])/g, (_, letter: string) => ESCAPES[letter] ?? letter) ??
      plain.replace(/\s+#.*/, "").trimEnd();
    variables.set(
      quotedKey ?? plainKey ?? "",
      value.replace(REFERENCE, (_, name: string, fallback = "") => variables.get(name) ?? env[name] ?? fallback),
    );
  }
  return variables;
}
