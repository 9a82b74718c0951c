// Seeded nonsense: JSON values of all kinds, and good ones with a few things wrong.
import type { Json, JsonObject } from "../../src/api/wire.ts";
import { pick, type Random, randomFrom } from "./random.ts";

/** A sequence of nonsense, the same one for the same seed. */
export interface Fuzz {
  random: Random;
  pick<T>(items: readonly T[]): T;
  /** A whole number from 0 up to `end`, which is not reached. */
  below(end: number): number;
  /** Any JSON value. */
  value(): Json;
  /** The same with some values replaced and some fields left out. */
  mutate(value: Json): Json;
}

const texts = ["", "\u0000", "\r\n", "__proto__", "constructor", "NaN", "-1", "9999-12-31T23:59:59Z", "x".repeat(5000)];

/** Starts a sequence; `rate` is how many of the values are replaced. */
export function fuzzFrom(seed: number, rate = 0.12): Fuzz {
  const random = randomFrom(seed);
  const below = (end: number): number => Math.floor(random() * end);
  const kinds: (() => Json)[] = [
    () => null,
    () => random() < 0.5,
    () => (random() - 0.5) * 10 ** below(30),
    () => pick(random, texts),
    () => [],
    () => [null, [1], {}],
    () => ({ __proto__: null, toString: 1, length: -1 }) as unknown as JsonObject,
    () => ({ a: pick(random, texts) }),
  ];
  const value = (): Json => pick(random, kinds)();
  const mutate = (good: Json): Json => {
    if (random() < rate) return value();
    if (Array.isArray(good)) return good.map(mutate);
    if (typeof good !== "object" || good === null) return good;
    const kept = Object.entries(good).filter(() => random() > rate / 4);
    return Object.fromEntries(kept.map(([name, each]) => [name, mutate(each)]));
  };
  return { random, below, value, mutate, pick: (items) => pick(random, items) };
}
