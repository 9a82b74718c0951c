// What the options of `lictor deploy` and the keys of lictor.toml become.
import { describe, expect, test } from "vitest";
import {
  type DeploymentPlan,
  parseParam,
  parseSchedule,
  parseValue,
  planDeployment,
  splitName,
} from "../../src/cli/deployment-plan.ts";
import { readDeployments } from "../../src/cli/lictor-toml.ts";
import { NumberText } from "../../src/exact-json.ts";

const plan: DeploymentPlan = {
  name: "import",
  pool: "local",
  command: ["./import.sh", "{{ parameters.day }}"],
  entrypoint: null,
  schedules: [],
  timezone: null,
  params: ["day"],
  retries: null,
  retryDelaySeconds: null,
  timeoutSeconds: null,
  image: null,
  workingDir: null,
  workQueue: null,
  tags: [],
  description: null,
  jobVariables: {},
};
const place = { poolType: "process", directory: "/srv", described: null };

describe("a deployment", () => {
  test("has the program, its directory and a word for other workers", () => {
    const { flow, fields } = planDeployment(plan, place);
    expect(flow).toBe("import");
    expect(fields).toMatchObject({
      name: "import",
      work_pool_name: "local",
      enforce_parameter_schema: true,
      schedules: [],
      entrypoint: "./import.sh {{ parameters.day }}",
      job_variables: { reporter: "worker", program: ["./import.sh", "{{ parameters.day }}"], working_dir: "/srv" },
    });
    expect(JSON.stringify(fields.pull_steps)).toContain("it needs a lictor worker: lictor worker start --pool local");
  });

  test("has only what was asked for, and no directory in a container", () => {
    const { fields } = planDeployment({ ...plan, image: "alpine", retries: 2 }, { ...place, poolType: "docker" });
    const { program } = fields.job_variables as { program: string[] };
    expect(fields.job_variables).toEqual({ reporter: "worker", program, image: "alpine", retries: 2 });
  });

  test("lets further job variables win", () => {
    const jobVariables = { env: { A: "1" }, retries: 5 };
    const { fields } = planDeployment({ ...plan, retries: 2, jobVariables }, place);
    expect(fields.job_variables).toMatchObject(jobVariables);
  });

  test("has no placeholder for a parameter that it lacks", () => {
    const command = ["echo", "{{ parameters.day }} {{ parameters.other.part }}"];
    expect(() => planDeployment({ ...plan, command }, place)).toThrow(
      "The command has {{ parameters.other.part }}, but the deployment has no such parameter. Add --param other.",
    );
    expect(planDeployment({ ...plan, command, params: ["day", "other:object"] }, place).flow).toBe("import");
  });

  test("has the schema and the defaults of its parameters", () => {
    const { fields } = planDeployment({ ...plan, params: ["day", "n:int=3"] }, place);
    expect(fields).toMatchObject({
      parameters: { n: 3 },
      parameter_openapi_schema: {
        type: "object",
        properties: {
          day: { title: "day", position: 0, type: "string" },
          n: { title: "n", position: 1, type: "integer", default: 3 },
        },
        required: ["day"],
      },
    });
  });

  test("of an entrypoint is what its module says, as far as no option says otherwise", () => {
    const described = {
      name: "report",
      parameters: { type: "object", properties: { day: { type: "string" } }, required: ["day"] },
      retries: 1,
      retryDelaySeconds: 2,
      timeoutSeconds: 3,
    } as const;
    const options = { ...plan, command: [], entrypoint: "src/flow.ts:report", retries: 4 };
    const { fields } = planDeployment(options, { ...place, described });
    expect(fields).toMatchObject({
      entrypoint: "src/flow.ts:report",
      parameter_openapi_schema: { required: ["day"] },
      job_variables: {
        program: ["node", "src/flow.ts"],
        env: { LICTOR_FLOW: "report" },
        retries: 4,
        retry_delay_seconds: 2,
        timeout_seconds: 3,
      },
    });
    // The variables of kubernetes work pools may be a list.
    const list = [{ name: "A", value: "1" }];
    const { fields: listed } = planDeployment({ ...options, jobVariables: { env: list } }, { ...place, described });
    expect(listed).toMatchObject({ job_variables: { env: [...list, { name: "LICTOR_FLOW", value: "report" }] } });
  });
});

test.each([
  ["day", { name: "day", type: "string", value: undefined }],
  ["day=a=b", { name: "day", type: "string", value: "a=b" }],
  ["day:str=", { name: "day", type: "string", value: "" }],
  ["n:int=3", { name: "n", type: "integer", value: 3 }],
  ["x:number=1", { name: "x", type: "number", value: 1 }],
  ["b:bool=true", { name: "b", type: "boolean", value: true }],
  ["l:list=[1]", { name: "l", type: "array", value: [1] }],
  ['o:object={"a":1}', { name: "o", type: "object", value: { a: 1 } }],
])("the parameter %s is read", (text, param) => {
  expect(parseParam(text)).toEqual(param);
});

test.each([
  ["n:int=x", /no integer/],
  ["n:int=1.5", /no integer/],
  ["b:bool=yes", /no boolean/],
  ["o:object=[]", /no object/],
  ["n:toString", /unknown type 'toString'/],
  [":int", /no parameter/],
])("the parameter %s is refused", (text, message) => {
  expect(() => parseParam(text)).toThrow(message);
});

test("a value without a schema is JSON if it can be", () => {
  expect(parseValue("a", undefined, "1")).toBe(1);
  expect(parseValue("a", undefined, "one")).toBe("one");
  expect(parseValue("a", "string", "1")).toBe("1");
});

test("schedules are seconds or cron expressions", () => {
  expect(parseSchedule("60", null)).toEqual({ interval: 60 });
  expect(parseSchedule(" 0  5 * * 1-5", "Europe/Berlin")).toEqual({ cron: "0 5 * * 1-5", timezone: "Europe/Berlin" });
  expect(parseSchedule("@daily", null)).toEqual({ cron: "@daily", timezone: "UTC" });
  for (const zone of ["Nowhere/None", "", "x"]) expect(() => parseSchedule("60", zone)).toThrow(/no time zone/);
  for (const wrong of ["", "0", "-1", "1e999", "soon", "* * *"])
    expect(() => parseSchedule(wrong, null)).toThrow(/no schedule/);
});

test("names have one or two parts", () => {
  expect(splitName("a")).toEqual({ flow: "a", name: "a" });
  expect(splitName("a/b")).toEqual({ flow: "a", name: "b" });
  for (const wrong of ["", "/", "a/", "a/b/c", "a%b", "a/<b>"])
    expect(() => splitName(wrong)).toThrow(/no name of a deployment/);
});

describe("lictor.toml", () => {
  test("has the options as keys", () => {
    const [import_, other] = readDeployments(
      "lictor.toml",
      `[deployments.import]
pool = "local"
command = ["./import.sh", "{{ parameters.day }}"]
schedule = "0 5 * * *"
param = ["day:string=today"]
retries = 2
retry-delay = 30
tag = ["etl"]
job-variables = { env = { A = "1" }, n = [12345678901234567890] }
[deployments."flow/other"]
pool = "local"
entrypoint = "flow.ts:other"
schedule = [60, "@daily"]`,
    );
    expect(import_).toMatchObject({
      name: "import",
      command: plan.command,
      schedules: ["0 5 * * *"],
      params: ["day:string=today"],
      retries: 2,
      retryDelaySeconds: 30,
      tags: ["etl"],
      jobVariables: { env: { A: "1" }, n: [new NumberText("12345678901234567890")] },
    });
    expect(other).toMatchObject({ name: "flow/other", entrypoint: "flow.ts:other", schedules: ["60", "@daily"] });
  });

  test.each([
    ["", "lictor.toml has no deployments. Write a table [deployments.NAME] for each."],
    ["x = 1", "lictor.toml has an unknown key 'x'. Deployments are [deployments.NAME]."],
    ["[deployments.a]\n", "lictor.toml: deployments.a has no 'pool'."],
    ["deployments.a = 1", "lictor.toml: deployments.a is no table."],
    ['[deployments.a]\npool="p"\nretry=1', /^lictor.toml: deployments.a has an unknown key 'retry'. Known are: pool, /],
    [
      '[deployments.a]\npool="p"\nretries="x"',
      "lictor.toml: deployments.a has a 'retries' that is no number from 0 to 100000000.",
    ],
    [
      '[deployments.a]\npool="p"\ntimeout=inf',
      "lictor.toml: deployments.a has a 'timeout' that is no number from 0 to 100000000.",
    ],
    ['[deployments.a]\npool="a/b"', "lictor.toml: deployments.a has a 'pool' that is no name of a work pool: 'a/b'."],
    ['[deployments.a]\npool="p"\nretries=1.5', "lictor.toml: deployments.a has a 'retries' that is no whole number."],
    ['[deployments.a]\npool="p"\ncommand=[[]]', "lictor.toml: deployments.a has a 'command' that is no list of texts."],
    ["[", "Cannot read lictor.toml: invalid TOML in line 1, column 2"],
  ])("is refused in one line: %j", (text, message) => {
    expect(() => readDeployments("lictor.toml", text)).toThrow(message);
  });
});
