// `npm run docs`: writes what the documents have from the program, and from the results of the bench. With
// LICTOR_TEST_API_URL, also the picture of the status page.
import { readFile, writeFile } from "node:fs/promises";
import { inCheckout } from "../support/checkout.ts";
import { readmeWithFigures } from "./figures.ts";
import { settingsPage } from "./settings-page.ts";
import { drawStatusPage } from "./status-page-picture.ts";

await writeFile(inCheckout("docs/settings.md"), settingsPage());
const readme = inCheckout("README.md");
await writeFile(readme, await readmeWithFigures(await readFile(readme, "utf8")));
const apiUrl = process.env.LICTOR_TEST_API_URL;
if (apiUrl) await drawStatusPage(apiUrl);
