// The loaded settings, and where each comes from.
import type { SettingValues } from "./definitions.ts";
import type { Origin } from "./origin.ts";
import type { ProfileChoice } from "./profiles.ts";

/** Frozen. */
export interface Settings {
  /** typed by canonical name; what no source gives has its default */
  readonly values: SettingValues;
  /** origin of every setting that some source other than the defaults gave */
  readonly origins: ReadonlyMap<string, Origin>;
  /** origins of the same setting in sources of lower precedence, the highest first */
  readonly hidden: ReadonlyMap<string, readonly Origin[]>;
  readonly profile: {
    readonly name: string;
    readonly chosenBy: ProfileChoice;
    readonly file: string;
    /** false when the name exists neither in the file nor among the built-in profiles */
    readonly found: boolean;
  };
  /** one line each, to be logged as warnings */
  readonly warnings: readonly string[];
  /**
   * The variables for a flow run's process: every setting that any source gives, by canonical name, with secrets in clear.
   * The text is what lictor itself makes of the setting, because Python reads some texts more strictly.
   */
  readonly exported: Readonly<Record<string, string>>;
  /** The settings of Prefect's integrations as variables, from all sources. Nobody has parsed them. */
  readonly integrations: Readonly<Record<string, string>>;
}
