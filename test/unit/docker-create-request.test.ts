// The create call beside that of the reference's docker worker, field by field.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Flow, FlowRun, JsonObject, WorkPool } from "../../src/api/wire.ts";
import { dockerBaseJobTemplate } from "../../src/infrastructure/docker/base-job-template.ts";
import { startMark } from "../../src/infrastructure/docker/begun.ts";
import { toContainerName, toCreateRequest } from "../../src/infrastructure/docker/create-request.ts";
import { toDockerJob } from "../../src/infrastructure/docker/docker-job.ts";
import type { RunFacts } from "../../src/job/job-fields.ts";
import { reportingVariables } from "../../src/job/reporting-fields.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { ensureDockerWorker } from "../support/python-environment.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const apiUrl = "http://127.0.0.1:4200/api";

const names = {
  flowRunId: "11111111-1111-4111-8111-111111111111",
  flowRunName: "My Flow/ünder_score..x",
  flowId: "22222222-2222-4222-8222-222222222222",
  flowName: "a flow",
  workPoolId: "33333333-3333-4333-8333-333333333333",
};

const withImage = (fields: JsonObject): JsonObject => ({ image: "i:1", ...fields });
const withArguments = (given: JsonObject): JsonObject => withImage({ container_create_kwargs: given });

/** Each with what it is about. */
const cases: [what: string, fields: JsonObject][] = [
  ["only an image", withImage({})],
  ["a command", withImage({ command: `python -c "print('a b')"` })],
  ["variables, one of them null", withImage({ env: { A: "1", B: null, PREFECT__FLOW_NAME: null } })],
  ["labels", withImage({ labels: { "a.b.c/K": "v", plain: "p", "x.y/z/w": "1" } })],
  ["a name", withImage({ name: "-- Ärger/über.all --" })],
  ["a long name", withImage({ name: `${"n".repeat(249)} end` })],
  ["a name of which nothing is left", withImage({ name: "!!!" })],
  ["a network", withImage({ networks: ["one"] })],
  ["two networks and a mode", withImage({ networks: ["one", "two"], network_mode: "host" })],
  ["a mode", withImage({ network_mode: "none" })],
  ["another API", withImage({ env: { PREFECT_API_URL: "https://api.example/api" } })],
  ["another local API", withImage({ env: { PREFECT_API_URL: "http://localhost:1/api" }, network_mode: "bridge" })],
  ["no automatic removal", withImage({ auto_remove: false })],
  ["automatic removal and privileges", withImage({ auto_remove: true, privileged: true })],
  ["volumes", withImage({ volumes: ["/a:/b", "/a:/c:ro", "named:/d", "/anonymous", "./rel:/e:rw", "..:/f"] })],
  ["memory", withImage({ mem_limit: "1.5g", memswap_limit: "-1" })],
  ["memory in bytes", withImage({ mem_limit: "100000", memswap_limit: "200kb" })],
  ["fields of the job among the arguments", withArguments({ image: "j", command: "c", env: {}, mem_limit: "1g" })],
  [
    "fields at the top",
    withArguments({
      ...{ entrypoint: "/bin/sh -c", user: 1000, working_dir: "/w", hostname: "h", domainname: "d" },
      ...{ stop_signal: "SIGINT", tty: true, mac_address: "02:42:ac:11:00:02", network_disabled: true },
    }),
  ],
  ["standard input", withArguments({ stdin_open: true })],
  ["a health check", withArguments({ healthcheck: { test: "curl x", interval: 1000000, retries: 2 } })],
  ["ports", { ...withArguments({ ports: { "80/tcp": 8080, "90": null, "70/udp": [1, 2] } }), network_mode: "bridge" }],
  ["devices", withArguments({ devices: ["/dev/a:/dev/b:r", "/dev/c"], device_cgroup_rules: ["c 1:3 mr"] })],
  ["a GPU", withArguments({ device_requests: [{ Driver: "nvidia", Count: -1, Capabilities: [["gpu"]] }] })],
  ["capabilities", withArguments({ cap_add: ["SYS_ADMIN"], cap_drop: ["ALL"], security_opt: ["no-new-privileges"] })],
  [
    "names",
    withArguments({ dns: ["1.1.1.1"], dns_opt: ["ndots:1"], dns_search: ["a"], extra_hosts: { b: "1.2.3.4" } }),
  ],
  ["a list of hosts", withArguments({ extra_hosts: ["c:1.2.3.4", "a:5.6.7.8"] })],
  [
    "processors",
    withArguments({
      ...{ cpu_count: 2, cpu_percent: 50, cpu_period: 100000, cpu_quota: 50000, cpu_shares: 512, nano_cpus: 500000000 },
      ...{ cpuset_cpus: "0-1", cpuset_mems: "0", cpu_rt_period: 1000, cpu_rt_runtime: 950 },
    }),
  ],
  [
    "further memory",
    withArguments({
      mem_reservation: "64m",
      kernel_memory: "32m",
      mem_swappiness: 0,
      shm_size: "1g",
      oom_kill_disable: true,
    }),
  ],
  [
    "name spaces",
    withArguments({
      ...{
        oom_score_adj: 100,
        pids_limit: 50,
        pid_mode: "host",
        ipc_mode: "host",
        uts_mode: "host",
        userns_mode: "host",
      },
      ...{ cgroupns: "private", cgroup_parent: "/x", runtime: "runc", init: true, isolation: "default" },
    }),
  ],
  [
    "storage",
    withArguments({
      ...{
        read_only: true,
        publish_all_ports: true,
        storage_opt: { size: "10G" },
        sysctls: { "net.core.somaxconn": 1024 },
      },
      ...{
        tmpfs: { "/t": "size=1m" },
        volume_driver: "local",
        volumes_from: ["x"],
        blkio_weight: 300,
        group_add: [1, "g"],
      },
    }),
  ],
  ["a list of tmpfs", withArguments({ tmpfs: ["/t", "/u:size=1m"] })],
  ["restarts", withArguments({ restart_policy: { Name: "on-failure", MaximumRetryCount: 3 } })],
  ["links", withArguments({ links: { b: "x", a: null } })],
  [
    "log driver and limits",
    withArguments({ log_config: { Type: "none" }, ulimits: [{ Name: "nofile", Soft: 1, Hard: 2 }] }),
  ],
  ["block devices", withArguments({ device_read_bps: [{ Path: "/dev/a", Rate: 1 }], blkio_weight_device: [] })],
  ["empty arguments", withArguments({ dns_search: [], cap_add: [], pids_limit: 0, cpu_shares: 0, privileged: true })],
];

/** Both refuse these. */
const refused: [what: string, fields: JsonObject][] = [
  ["links that are no pairs", withArguments({ links: ["db:database"] })],
  ["a policy that does not exist", withImage({ image_pull_policy: "Sometimes" })],
  ["a volume with a shell expression", withImage({ volumes: ["$(pwd):/x"] })],
  ["a volume with another option", withImage({ volumes: ["/a:/b:z"] })],
  ["a bind with a relative target", withImage({ volumes: ["/a:b"] })],
  ["an empty volume", withImage({ volumes: [""] })],
  ["memory without a number", withImage({ mem_limit: "much" })],
  ["memory with another unit", withImage({ mem_limit: "1x" })],
  ["an unknown argument", withArguments({ nope: 1 })],
  ["variables among the arguments", withArguments({ environment: {} })],
  ["a network among the arguments", withArguments({ network: "n" })],
  ["ports in host mode", { ...withArguments({ ports: { "80/tcp": 1 } }), network_mode: "host" }],
  ["a number for a list", withArguments({ ulimits: 1 })],
];

type Answer = { name?: string | null; body?: JsonObject; error?: string };

async function askReference(all: readonly [string, JsonObject][]): Promise<Answer[]> {
  const { python } = await ensureDockerWorker(console.error);
  await using directory = await makeTemporaryDirectory();
  const file = join(directory.path, "cases.json");
  await writeFile(file, JSON.stringify(all.map(([, fields]) => ({ fields, facts: names }))));
  const script = inCheckout("test/fixtures/programs/docker_create_bodies.py");
  const env = cleanEnvironment({ PREFECT_API_URL: apiUrl, HOME: directory.path });
  const cwd = join(directory.path, "here");
  await mkdir(cwd);
  const { stdout, stderr } = await runCommand(python, [script, file], { env, cwd });
  if (stdout === "") throw new Error(stderr);
  // Relative volumes count from the directory.
  return JSON.parse(stdout.replaceAll(directory.path, "/work")) as Answer[];
}

async function ask(fields: JsonObject): Promise<Answer> {
  const facts: RunFacts = {
    workPool: { id: names.workPoolId, name: "p", type: "docker" } as WorkPool,
    flowRun: { id: names.flowRunId, name: names.flowRunName, flow_id: names.flowId, deployment_id: null } as FlowRun,
    flow: { id: names.flowId, name: names.flowName } as Flow,
    deployment: null,
    workerName: "w",
    workerId: null,
    // The second is of the profile that the reference starts with.
    exportedSettings: { PREFECT_API_URL: apiUrl, PREFECT_SERVER_EPHEMERAL_ENABLED: "True" },
    environment: {},
  };
  try {
    const job = toDockerJob(fields, facts, { platform: "linux", directory: "/work/here" });
    const given = { labels: {}, knowsHostGateway: true, dockerConfig: {}, engineHost: "unix:///x" };
    return { name: await toContainerName(job.name), body: toCreateRequest(job, given).body };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** The order of variables does not matter, and neither does a field that is null. */
function comparable({ name = null, body = {}, error }: Answer): object {
  const withoutNull = (_: string, value: unknown): unknown => (value === null ? undefined : value);
  const { Env, HostConfig, ...rest } = JSON.parse(JSON.stringify(body, withoutNull)) as JsonObject;
  // A program that is not Prefect's has one mount more.
  const { Tmpfs, ...others } = (HostConfig ?? {}) as { Tmpfs?: JsonObject };
  const { [startMark]: _, ...mounts } = Tmpfs ?? {};
  const compared = { ...others, ...(Object.keys(mounts).length > 0 && { Tmpfs: mounts }) };
  return { name, error, ...rest, HostConfig: HostConfig && compared, Env: [...((Env ?? []) as string[])].sort() };
}

test("the create call is that of the reference, field by field", { timeout: 300_000 }, async () => {
  const reference = await askReference(cases);
  const own = await Promise.all(cases.map(([, fields]) => ask(fields)));
  const rows = (answers: readonly Answer[]) => cases.map(([what], index) => [what, comparable(answers[index] ?? {})]);
  expect(rows(own)).toEqual(rows(reference));
  expect(reference.filter(({ error }) => error)).toEqual([]);
});

/** Without descriptions and examples, and without the variables that lictor adds. */
function comparableTemplate(template: JsonObject): unknown {
  const isWords = (key: string, value: unknown) =>
    (key === "description" && typeof value === "string") || (key === "examples" && Array.isArray(value));
  const { job_configuration, variables } = template as Record<string, Record<string, JsonObject>>;
  const keysOf = (fields: JsonObject = {}) => Object.keys(fields).filter((key) => !(key in reportingVariables));
  const properties = variables?.properties ?? {};
  const kept = { ...variables, properties: keysOf(properties).map((key) => [key, properties[key]]) };
  const text = JSON.stringify(kept, (key, value) => (isWords(key, value) ? undefined : value));
  return {
    configuration: keysOf(job_configuration).map((key) => [key, job_configuration?.[key]]),
    ...JSON.parse(text),
  };
}

test("the base job template is that of the reference", { timeout: 300_000 }, async () => {
  const { python } = await ensureDockerWorker(console.error);
  const program =
    "import json; from prefect_docker.worker import DockerWorker as W; print(json.dumps(W.get_default_base_job_template()))";
  await using directory = await makeTemporaryDirectory();
  const { stdout } = await runCommand(python, ["-c", program], { env: cleanEnvironment({ HOME: directory.path }) });
  const reference = JSON.parse(stdout) as JsonObject;
  expect(comparableTemplate(dockerBaseJobTemplate)).toEqual(comparableTemplate(reference));
});

test("what the reference refuses is refused in one clear line", { timeout: 300_000 }, async () => {
  const reference = await askReference(refused);
  expect(refused.filter((_, index) => reference[index]?.error === undefined).map(([what]) => what)).toEqual([]);
  for (const [what, fields] of refused) {
    const { error } = await ask(fields);
    expect([what, error]).toEqual([what, expect.stringMatching(/^[^\n]{20,}$/)]);
  }
});
