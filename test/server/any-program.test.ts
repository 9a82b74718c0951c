// Flow runs whose program knows nothing of Prefect: the worker reports their states and ships their output.
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { pidsWithEnvironment } from "../support/processes.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { tellTwice } from "../support/tell-twice.ts";
import { waitFor } from "../support/wait-for.ts";
import { claimedStates } from "./deployments.ts";
import { END_TIMEOUT_MS, openPool, readArtifacts, untilEnd } from "./programs.ts";

const untilRunning = ["Scheduled", ...claimedStates(), "Running"];

async function logsOf(api: Awaited<ReturnType<typeof openPool>>["api"], id: string, count: number) {
  return await waitFor(
    async () => {
      const logs = (await api.readLogs(id)).filter(({ name }) => name === "prefect.flow_runs");
      return logs.length >= count && logs.map(({ level, message }) => [level, message]);
    },
    { timeoutMs: 20_000, what: `${count} log records of the program` },
  );
}

describe.concurrent("a program", { timeout: 120_000 }, () => {
  test("that succeeds ends as Completed, with its lines as logs, its result and its progress", async () => {
    await using opened = await openPool();
    const { api, worker } = opened;
    const script = `
      echo "hello $1"; echo "careful" >&2; echo "::progress 40"; echo '{"level":40,"msg":"from pino"}'
      echo "::progress 80"; echo '{"message":"3 files","table":[{"file":"a"}],"key":"files"}' >"$LICTOR_RESULT_FILE"
      printf 'no end'`;
    const { id } = await opened.run(script, {}, { parameters: { who: "it's 'me'" } }, ["sh", "{{ parameters.who }}"]);
    const { names, message } = await untilEnd(api, id, "COMPLETED");
    expect(names).toEqual([...untilRunning, "Completed"]);
    expect(message).toBe("3 files");
    // Only the lines of one stream have an order.
    const logs = (await logsOf(api, id, 4)) as [number, string][];
    expect(logs.filter(([level]) => level !== 40)).toEqual([
      [20, "hello it's 'me'"],
      [30, "from pino"],
      [20, "no end"],
    ]);
    expect(logs.filter(([level]) => level === 40)).toEqual([[40, "careful"]]);
    expect(worker.stdout).toMatch(/^hello it's 'me'$/m);
    expect(await readArtifacts(api, id)).toMatchObject([
      { type: "progress", data: 80 },
      { type: "table", key: "files", data: '[{"file":"a"}]' },
    ]);
    // Nothing is left of it.
    await waitFor(async () => (await readdir(join(worker.home, "tmp"))).length === 0, {
      timeoutMs: 10_000,
      what: "no temporary directory to be left",
    });
  });

  test("that fails, is killed, is not there or may not be executed ends truthfully", async () => {
    await using opened = await openPool();
    const { api } = opened;
    const failed = await opened.run("echo one; echo two >&2; exit 3");
    const killed = await opened.run("kill -9 $$");
    const segmented = await opened.run("sh -c 'kill -SEGV $$'; exit $?");
    const missing = await opened.run("", { program: ["/no/such/program"] });
    const relative = await opened.run("", { program: ["./import.sh"], working_dir: "/" });
    const unknown = await opened.run("", { program: ["no-such-program"] });
    const silent = await opened.run("exit 1");
    expect((await untilEnd(api, failed.id, "FAILED")).message).toMatch(
      /^Process exited with status code: 3\. .* Its last lines:\n(one\ntwo|two\none)$/,
    );
    expect((await untilEnd(api, killed.id, "CRASHED")).message).toMatch(/^Process exited with status code: -9\. /);
    expect((await untilEnd(api, segmented.id, "CRASHED")).message).toMatch(/^Process exited with status code: -11\. /);
    expect((await untilEnd(api, missing.id, "CRASHED")).message).toBe(
      "Flow run could not start: The program '/no/such/program' is not found, or may not be executed. Correct the command, or make the file executable.",
    );
    expect((await untilEnd(api, relative.id, "CRASHED")).message).toContain(
      "The program './import.sh' is not found in the working directory '/', or may not be executed.",
    );
    expect((await untilEnd(api, unknown.id, "CRASHED")).message).toContain(
      "The program 'no-such-program' is not on the PATH of the flow run. Install it where the worker runs,",
    );
    // A mistake of the user needs no stack of lictor.
    await waitFor(
      async () => (await api.readLogs(missing.id)).some(({ message }) => message.startsWith("Failed to submit")),
      {
        timeoutMs: 20_000,
        what: "the log record of the failure",
      },
    );
    const failure = (await api.readLogs(missing.id)).find(({ message }) => message.startsWith("Failed to submit"));
    expect(failure?.message).toMatch(
      /^Failed to submit flow run '.*' to infrastructure\.\nThe program '\/no\/.* executable\.$/,
    );
    expect((await untilEnd(api, silent.id, "FAILED")).message).toBe(
      "Process exited with status code: 1. Process exited with a general error.",
    );
  });

  test("that fails is retried as its job or its flow run says, and its slot is free meanwhile", async () => {
    let losses = 0;
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      // The first retry is decided on by a response that is lost.
      onRequest: ({ path, body }) =>
        path.endsWith("/set_state") && body.includes('"FAILED"') && losses++ === 0 ? "lose-answer" : undefined,
    });
    await using opened = await openPool({ args: ["--limit", "1"], apiUrl: proxy.apiUrl });
    const { api, pool } = opened;
    const file = join(opened.worker.home, `tries-${randomUUID()}`);
    const script = `echo try >>'${file}'; [ "$(wc -l <'${file}')" -ge 3 ]`;
    const retried = await opened.run(script, { retries: 2, retry_delay_seconds: 7.5 });
    await waitFor(async () => (await api.readFlowRun(retried.id)).state_name === "AwaitingRetry", {
      timeoutMs: END_TIMEOUT_MS,
      what: "the retry",
    });
    const between = await opened.run("exit 0");
    const end = await untilEnd(api, between.id, "COMPLETED");
    const { names, flowRun } = await untilEnd(api, retried.id, "COMPLETED");
    const attempt = [...claimedStates(), "Running"];
    expect(names).toEqual([
      "Scheduled",
      ...attempt,
      "AwaitingRetry",
      ...attempt,
      "AwaitingRetry",
      ...attempt,
      "Completed",
    ]);
    expect(Date.parse(end.flowRun.state?.timestamp ?? "")).toBeLessThan(Date.parse(flowRun.state?.timestamp ?? ""));
    // A policy of the flow run itself wins.
    const own = await opened.run("exit 1", { retries: 5 }, { scheduledTime: new Date(Date.now() + 3_000) });
    await api.request("PATCH", `/flow_runs/${own.id}`, { empirical_policy: { retries: 0, retry_delay: 0 } });
    expect((await untilEnd(api, own.id, "FAILED")).names).not.toContain("AwaitingRetry");
    expect(pool).toBeDefined();
  });

  test("that takes too long is ended, as TimedOut, and is retried like any failure", async () => {
    await using opened = await openPool();
    const { api } = opened;
    const { id } = await opened.run("sleep 100", { timeout_seconds: 1.5, retries: 1 });
    const { names, message, flowRun } = await untilEnd(api, id, "FAILED");
    expect(names.slice(4)).toEqual(
      ["AwaitingRetry", ...claimedStates(), "Running", "TimedOut"].slice(-names.length + 4),
    );
    expect(flowRun.state?.name).toBe("TimedOut");
    expect(message).toBe("Flow run exceeded timeout of 1.5 second(s)");
    expect(await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)).toEqual([]);
  });

  test("that is cancelled gets SIGTERM, can tidy up, and ends as Cancelled", async () => {
    await using opened = await openPool();
    const { api, worker } = opened;
    const { id } = await opened.run(`trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.1; done`);
    await worker.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await api.setState(id, "CANCELLING");
    const { names, message } = await untilEnd(api, id, "CANCELLED");
    expect(names).toEqual([...untilRunning, "Cancelling", "Cancelled"]);
    expect(message).toBe("Flow run was cancelled successfully.");
    // Its shell may print what became of its sleep.
    const logs = (await logsOf(api, id, 2)) as [number, string][];
    expect(logs.filter(([level]) => level === 20).map(([, line]) => line)).toEqual(["ready", "tidied"]);
    expect(await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)).toEqual([]);
  });

  test("is waited for by a drain, and is Crashed when the worker ends it", async () => {
    await using opened = await openPool();
    const { api, worker } = opened;
    const short = await opened.run("echo ready; sleep 3");
    await worker.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    const long = await opened.run("echo steady; sleep 100");
    await worker.waitForOutput(/^steady$/m, END_TIMEOUT_MS);
    await api.waitForState(long.id, ["RUNNING"], END_TIMEOUT_MS);
    worker.signal("SIGTERM");
    await untilEnd(api, short.id, "COMPLETED");
    expect(await tellTwice(worker)).toBeLessThan(30_000);
    expect((await untilEnd(api, long.id, "CRASHED")).message).toMatch(/ and ended the flow run's process\.$/);
  });

  test("gets parameters of any text, also such that fit into no variable", async () => {
    await using opened = await openPool();
    const { api } = opened;
    const text = "a \"b\" 'c'\n$HOME `x` \\n ü 🚀 * ";
    const small = { text, number: 1.5, list: [1, null] };
    const script = `[ "$1" = "$2" ] && printf '%s' "$PREFECT__PARAMETERS" | cmp - "$LICTOR_PARAMETERS_FILE" && wc -c <"$LICTOR_PARAMETERS_FILE"`;
    const args = ["sh", "{{ parameters.text }}", "{{ parameters.text }}"];
    const first = await opened.run(script, {}, { parameters: small }, args);
    await untilEnd(api, first.id, "COMPLETED");
    expect(await logsOf(api, first.id, 1)).toEqual([[20, String(Buffer.byteLength(JSON.stringify(small)))]]);
    const large = { text: `ü${"x".repeat(500_000)}` };
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a shell's
    const other = 'echo "${PREFECT__PARAMETERS-unset}"; wc -c <"$LICTOR_PARAMETERS_FILE"';
    const second = await opened.run(other, {}, { parameters: large });
    await untilEnd(api, second.id, "COMPLETED");
    expect(await logsOf(api, second.id, 2)).toEqual([
      [20, "unset"],
      [20, String(500_002 + '{"text":""}'.length)],
    ]);
    const argument = await opened.run("true", {}, { parameters: large }, ["sh", "{{ parameters.text }}"]);
    expect((await untilEnd(api, argument.id, "CRASHED")).message).toMatch(
      /too large for the system \(E2BIG\).* The largest argument has [\d,]+ bytes\. .* LICTOR_PARAMETERS_FILE /,
    );
  });

  test("may print anything: bad UTF-8, zeros, no newline at all", async () => {
    await using opened = await openPool();
    const { api } = opened;
    const script = `printf 'bad \\377 byte\\nzero \\000 byte\\n'; head -c 200000 /dev/zero | tr '\\0' x`;
    const { id } = await opened.run(script);
    await untilEnd(api, id, "COMPLETED");
    const logs = (await logsOf(api, id, 6)) as [number, string][];
    expect(logs.slice(0, 2).map(([, message]) => message)).toEqual(["bad \ufffd byte", "zero \ufffd byte"]);
    expect(
      logs
        .slice(2)
        .map(([, message]) => message)
        .join(""),
    ).toBe("x".repeat(200_000));
  });

  test("may print without an end: the logs have its begin and count the rest, and the worker stays small", async () => {
    await using opened = await openPool();
    const { api, worker } = opened;
    const { id } = await opened.run("head -c 30000000 /dev/zero | tr '\\0' x | fold -w 50000; echo done >&2");
    await untilEnd(api, id, "COMPLETED");
    const messages = async () => (await api.readLogs(id)).map(({ message }) => message);
    await waitFor(async () => (await messages()).some((message) => /were left out here/.test(message)), {
      timeoutMs: 20_000,
      what: "the count of the lines",
    });
    const lines = await messages();
    const sent = lines.filter((line) => line.startsWith("x")).length;
    const counts = lines.map((line) => Number(/^(\d+) lines were left out here/.exec(line)?.[1] ?? 0));
    expect(sent).toBeGreaterThan(50);
    expect(sent + counts.reduce((sum, count) => sum + count)).toBe(600 + (lines.includes("done") ? 0 : 1));
    const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${worker.pid}/status`, "utf8")) ?? [];
    expect(Number(peak)).toBeLessThan(300_000);
  });

  test("whose flow run is deleted before it is Running is stopped", async () => {
    const deleted = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async ({ path, body }) => {
        if (path.endsWith("/set_state") && body.includes('"RUNNING"')) await aborted(deleted.signal);
        return undefined;
      },
    });
    await using opened = await openPool({ apiUrl: proxy.apiUrl });
    const { api, worker } = opened;
    const { id } = await opened.run("echo ready; sleep 100");
    await worker.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await api.deleteFlowRun(id);
    deleted.abort();
    await worker.waitForOutput(/is deleted by now; its program is stopped/, END_TIMEOUT_MS);
    await waitFor(async () => (await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)).length === 0, {
      timeoutMs: 20_000,
      what: "the program to end",
    });
  });
});
