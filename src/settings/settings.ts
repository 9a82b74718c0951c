// The loaded settings, and where each comes from.
import type { SettingValues } from "./definitions.ts";
import type { Origin } from "./origin.ts";
import type { ProfileChoice } from "./profiles.ts";

/** Frozen. */
export interface Settings {
  /** Typed, by canonical name. A setting that no source gives has its default. */
  readonly values: SettingValues;
  /** The origin of each setting that is not a default. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** The origins of the same setting in sources of lower precedence, the highest first. */
  readonly hidden: ReadonlyMap<string, readonly Origin[]>;
  readonly profile: {
    readonly name: string;
    readonly chosenBy: ProfileChoice;
    readonly file: string;
    /** False when the name exists neither in the file nor among the built-in profiles. */
    readonly found: boolean;
  };
  /** One line each, to be logged as warnings. */
  readonly warnings: readonly string[];
  /**
   * The variables for a flow run's process: every setting that any source gives, by canonical name, with secrets in clear.
   * The text is what lictor itself makes of the setting, because Python reads some texts more strictly.
   */
  readonly exported: Readonly<Record<string, string>>;
  /** The settings of Prefect's integrations as variables, from all sources. Nobody has parsed them. */
  readonly integrations: Readonly<Record<string, string>>;
}
