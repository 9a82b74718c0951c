// The program: its commands.
import { Command } from "commander";
import { lictorVersion } from "../version.ts";

await new Command("lictor").description("A Prefect-compatible worker.").version(lictorVersion).parseAsync();
