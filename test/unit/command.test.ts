// Command splitting, one row per rule. Every row was checked against Python's shlex.split.
import { describe, expect, test } from "vitest";
import { CommandError, splitCommand } from "../../src/job/command.ts";

describe("splitCommand", () => {
  const rows: [rule: string, command: string, words: string[]][] = [
    ["blanks separate words", "a  b\tc\nd\re", ["a", "b", "c", "d", "e"]],
    ["blanks around are dropped", "  a ", ["a"]],
    ["nothing but blanks has no words", " \t", []],
    ["a form feed is no blank", "a\fb", ["a\fb"]],
    ["single quotes keep everything", `'a "b" \\n $X'`, [`a "b" \\n $X`]],
    ["double quotes keep blanks", '"a b"', ["a b"]],
    ["a backslash in them escapes a quote and itself", String.raw`"a\"b\\c"`, [String.raw`a"b\c`]],
    ["but stays before anything else", String.raw`"\$x \n"`, [String.raw`\$x \n`]],
    ["a backslash escapes any character", String.raw`a\ b \'c\\`, ["a b", "'c\\"]],
    ["pieces without a blank are one word", `a'b c'"d e"\\ f`, ["ab cd e f"]],
    ["empty quotes are a word", `a '' ""`, ["a", "", ""]],
    ["and add nothing inside a word", `a''b`, ["ab"]],
    ["# starts no comment", "a #b", ["a", "#b"]],
    ["nothing is expanded", "echo $HOME *.py ~ && ls | cat > x", "echo $HOME *.py ~ && ls | cat > x".split(" ")],
    ["letters of any language are plain", "é 日本 😀", ["é", "日本", "😀"]],
  ];
  test.each(rows)("%s", (_rule, command, words) => {
    expect(splitCommand(command)).toEqual(words);
  });

  const failures: [rule: string, command: string, message: string][] = [
    ["an open single quote", "a 'b", "The command has an open '."],
    ["an open double quote", 'a "b', 'The command has an open ".'],
    ["an escaped closing quote", String.raw`"a\"`, 'The command has an open ".'],
    ["a backslash at the end", "a \\", "The command ends in a backslash."],
  ];
  test.each(failures)("%s is an error", (_rule, command, message) => {
    expect(() => splitCommand(command)).toThrow(new CommandError(message));
  });
});
