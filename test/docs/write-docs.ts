// `npm run docs`: writes what the documents have from the program, and from the results of the bench.
import { readFile, writeFile } from "node:fs/promises";
import { inCheckout } from "../support/checkout.ts";
import { readmeWithFigures } from "./figures.ts";
import { settingsPage } from "./settings-page.ts";

await writeFile(inCheckout("docs/settings.md"), settingsPage());
const readme = inCheckout("README.md");
await writeFile(readme, await readmeWithFigures(await readFile(readme, "utf8")));
