// A flow in TypeScript. It measures the weather of some cities and writes a report.
//
//   lictor deploy weather-report --pool local --entrypoint examples/weather-report.ts:weather-report
//   lictor run weather-report -p 'cities=["Oslo", "Lima"]' --watch
import { setTimeout as pause } from "node:timers/promises";
import { context, flow, log, progress, task } from "lictor";

/** The service answers slowly, and not always. So an attempt has 5 s, and the next one comes soon. */
const measure = task(
  { name: "measure", retries: 3, retryDelaySeconds: 1, timeoutSeconds: 5, concurrency: 2 },
  async (city: string): Promise<{ city: string; degrees: number }> => {
    const { attempt, signal } = context();
    await pause(200, undefined, { signal });
    if (city === "Lima" && attempt === 1) throw new Error("The service did not answer.");
    const degrees = city.length * 3;
    log.info(`${city} has ${degrees} °C`, { attempt });
    return { city, degrees };
  },
);

export const weatherReport = flow(
  {
    name: "weather-report",
    parameters: {
      cities: { type: "array", default: ["Oslo", "Lima", "Cairo"] },
      unit: { type: "string", default: "C", enum: ["C", "F"] },
    },
  },
  async ({ cities, unit }) => {
    let done = 0;
    const measured = await Promise.all(
      cities.map(async (city) => {
        const { degrees } = await measure(String(city));
        progress((100 * ++done) / cities.length);
        return { city, degrees: unit === "C" ? degrees : degrees * 1.8 + 32 };
      }),
    );
    return { message: `${measured.length} cities measured`, table: measured, key: "weather" };
  },
);
