// Environment variables that are not UTF-8, handed on to real programs.
import { describe, expect, test } from "vitest";
import { describeLost, findRawVariables, withRawVariables } from "../../src/process/raw-environment.ts";
import { startPoolServer, startPoolWorker } from "../fault/scripted-worker.ts";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR } from "../support/lictor.ts";
import { runCommand } from "../support/run-command.ts";

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

test("finds the variables that are not UTF-8, and no others", () => {
  const environment = Buffer.concat([latin1("A=caf\xe9\0"), Buffer.from("B=café\0C=\0"), latin1("\xe9=1\0D=x=\xff")]);
  expect(findRawVariables(environment)).toEqual([
    { name: "A", value: "caf\ufffd", bytes: latin1("A=caf\xe9") },
    { name: "\ufffd", value: "1", bytes: latin1("\xe9=1") },
    { name: "D", value: "x=\ufffd", bytes: latin1("D=x=\xff") },
  ]);
  expect(findRawVariables(Buffer.alloc(0))).toEqual([]);
});

describe("withRawVariables", () => {
  const raw = { name: "A", value: "\ufffd", bytes: latin1("A=\xe9") };
  test.each([
    ["nothing is to be passed on", []],
    ["the flow run has a value of its own", [raw]],
  ])("changes nothing when %s", (_when, variables) => {
    const start = { argv: ["true"], env: { A: "own" } };
    expect(withRawVariables(start, variables)).toBe(start);
  });
});

describe("describeLost", () => {
  const raw = { name: "A", value: "s3cret\ufffd", bytes: latin1("A=s3cret\xe9") };
  const env = { A: raw.value, B: "b", C: undefined };
  test.each([
    ["nothing where the variables are passed on", { variables: [raw], canPassOn: true }, null],
    ["nothing without such variables", { variables: [], canPassOn: false }, null],
    [
      "what is missing",
      { variables: [raw], canPassOn: false },
      /not UTF-8: A\. lictor needs \/bin\/sh and \/usr\/bin\/env to/,
    ],
    [
      "the system where the bytes are not known",
      { variables: null, canPassOn: true },
      /: A\. lictor needs Linux with \/proc/,
    ],
  ])("names %s", (_what, system, expected) => {
    const warning = describeLost(env, system);
    if (expected === null) expect(warning).toBeNull();
    else expect(warning).toMatch(expected);
    expect(`${warning}`).not.toContain("s3cret");
  });
});

/** Whether this user may hide a program from a child. */
const hide = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"] as const;
const { code: hides } = await runCommand("unshare", [...hide.slice(1), "mount --bind /dev/null /usr/bin/env"]).catch(
  () => ({ code: null }),
);

test.skipIf(hides !== 0)("a worker without the program that passes them on warns once", async () => {
  const run = `mount --bind /dev/null /usr/bin/env; export "$(printf 'MARKED=s3cret\\351')"; exec "$@"`;
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server, {}, [], [...hide, run, "sh", ...LICTOR]);
  await worker.waitForOutput(/Worker 'w' started!/, 30_000);
  worker.signal("SIGTERM");
  await worker.exited;
  expect(worker.stderr.split("\n").filter((line) => line.includes("not UTF-8"))).toEqual([
    expect.stringMatching(/WARN.*: MARKED\. lictor needs \/bin\/sh and \/usr\/bin\/env to pass them on\./),
  ]);
  expect(worker.stderr).not.toContain("s3cret");
});

/** A program's environment as bytes: started by lictor, which itself has these variables. */
async function environmentBelow(setting: string, program = "cat /proc/self/environ"): Promise<string> {
  const script = inCheckout("test/fixtures/programs/start-with-own-environment.ts");
  const run = `export ${setting}; exec "$0" --import tsx ${script} ${program}`;
  const { stdout, stderr } = await runCommand("bash", ["-c", run, process.execPath], { cwd: inCheckout(".") });
  expect(stderr).toBe("");
  return stdout;
}

describe("a child", () => {
  test.each([
    ["bytes that are not UTF-8", "$'A=caf\\xe9 \\'\"\\\\ %s $HOME\\n\\xff\\n'", "A=caf\xe9 '\"\\ %s $HOME\n\xff\n\0"],
    ["UTF-8", "A=café", `${latin1("A=").toString()}caf\xc3\xa9\0`],
  ])("gets a variable of %s unchanged", async (_what, setting, expected) => {
    const environment = Buffer.from(await environmentBelow(setting), "hex").toString("latin1");
    expect(environment).toContain(expected);
  });

  test("gets a large variable whole, although its octal numbers are longer than an argument may be", async () => {
    const environment = Buffer.from(await environmentBelow("A=$(head -c 40000 /dev/zero | tr '\\0' '\\351')"), "hex");
    expect(environment.toString("latin1")).toContain(`\0A=${"\xe9".repeat(40_000)}\0`);
  });

  test("that cannot start because of such variables names them and the reason", async () => {
    // They fit as they are and as Node.js shows them, with three bytes for each, but not with five.
    const settings = ["A", "B", "C"].map((name) => `${name}=$(head -c 40000 /dev/zero | tr '\\0' '\\351')`);
    const message = await environmentBelow(`${settings.join(" ")}; ulimit -s 2048`, "true");
    expect(message).toMatch(/too large for the system \(E2BIG\).*largest variables: [A-C] \(200,003\), [A-C] /);
    expect(message).toMatch(/[A-C], [A-C], [A-C]: not UTF-8, so up to five times larger at the start\.$/);
  });

  test("keeps its process id, and a missing program is told as ever", async () => {
    expect(await environmentBelow("$'A=\\xe9'", "pid")).toBe("same");
    expect(await environmentBelow("$'A=\\xe9'", "/no/such/program")).toBe("ENOENT");
  });
});
