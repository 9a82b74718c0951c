// The man page that the build makes.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { manPage } from "../../src/cli/man-page.ts";
import { buildProgram, commandPath, visibleCommands } from "../../src/cli/program.ts";

const hasGroff = spawnSync("groff", ["--version"]).status === 0;

describe("the man page", () => {
  test("has every command and every option", () => {
    const page = manPage("1.2.3").replaceAll("\\-", "-");
    expect(page).toMatch(/^\.TH LICTOR 1 "" "lictor 1\.2\.3"/);
    for (const command of visibleCommands(buildProgram())) {
      if (command.commands.length === 0) expect(page).toContain(`.SS "lictor ${commandPath(command)}`);
      for (const { long } of command.options) expect(page).toContain(`${long}`);
    }
  });

  test.runIf(hasGroff)("is read without a warning by groff", () => {
    const { stderr, status } = spawnSync("groff", ["-man", "-ww", "-Tutf8", "-z"], { input: manPage("1.2.3") });
    expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: "" });
  });
});
