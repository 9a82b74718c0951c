// The names of the types of work pools that lictor can serve. Apart from the types, because the command line needs only names.

/** The names that `--type` accepts. */
export const poolTypeNames = ["process", "docker", "kubernetes"] as const;
