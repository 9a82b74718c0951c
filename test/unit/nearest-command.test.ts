// The command that is suggested for an unknown one.
import { expect, test } from "vitest";
import { nearestCommand } from "../../src/cli/nearest-command.ts";

const commands = ["worker", "worker start", "worker status", "worker drain", "profile", "profile ls", "config view"];

test.each([
  ["a group", "wrker", "worker"],
  ["a command of a group", "worker strt", "worker start"],
  ["two letters in the wrong order", "worker satrt", "worker start"],
  ["a command without its group", "drain --wait", "worker drain"],
  ["a wrong letter and no group", "strat -p pool", "worker start"],
  ["a wrong group", "wroker start --pool p", "worker start"],
  ["a command after options", "--profile prod confg view", "config view"],
  ["nothing that is near", "zzzz", undefined],
  ["a word that resembles none of its group", "worker xyz", undefined],
])("%s", (_rule, line, expected) => {
  const words = line.split(" ");
  const known = ["worker", "profile", "config", "prod"];
  const unknown = words.find((word) => !word.startsWith("-") && !known.includes(word)) ?? "";
  expect(nearestCommand(unknown, words, commands)).toBe(expected);
});
