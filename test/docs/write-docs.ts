// `npm run docs`: writes the pages of docs/ that are made from the program.
import { writeFile } from "node:fs/promises";
import { inCheckout } from "../support/checkout.ts";
import { settingsPage } from "./settings-page.ts";

await writeFile(inCheckout("docs/settings.md"), settingsPage());
