// Slugs of worker names beside those of the real python-slugify, which the reference uses.
import { expect, inject, test } from "vitest";
import { slugify } from "../../src/job/slug.ts";
import { runCommand } from "../support/run-command.ts";

/** Each with the reason why it is in the table. */
const names: [rule: string, name: string][] = [
  ["words", "ProcessWorker 1"],
  ["accents and punctuation", "  Ünïcode / Näme!! "],
  ["several separators in a row", "a__b..c--d"],
  ["a quote is a dash", "O'Brien's worker"],
  ["digits in groups", "1,000 workers, 2,5"],
  ["character references", "a&amp;b &#65;&#x42;"],
  ["letters that do not decompose", "Øre ßtraße Łódź Þór Æsir đ ı œ"],
  ["two letters that look like UTF-8", "Ã© Ø« ß¿"],
  ["ligatures and fractions", "ﬁne ½ ² ™ № ①"],
  ["Cyrillic", "Рабочий пул №5 — Щёлково, їжак, ґанок, Љубљана"],
  ["Greek", "Εργάτης Αθήνας ψυχή"],
  ["Hebrew", "עובד ראשי שָׁלוֹם"],
  ["Arabic", "عامل رئيسي ٣ گچپژ"],
  ["Chinese", "北京工作者 臺灣"],
  ["Japanese", "ワーカー 東京 さくら ｶﾅ"],
  ["Korean", "서울 작업자 뷁"],
  ["Thai and Devanagari", "คนงาน मुंबई कार्यकर्ता"],
  ["Armenian and Georgian", "Երևան თბილისი"],
  ["emoji", "worker 🚀 one"],
  ["nothing that has letters", "🚀!?"],
  ["typographic punctuation", "a–b—c…d‘e’f“g”h•i"],
];

test("slugs are those of python-slugify, in all scripts", async () => {
  const script =
    "import json, sys; from slugify import slugify; print(json.dumps([slugify(n) for n in json.loads(sys.argv[1])]))";
  const { stdout } = await runCommand(inject("python"), ["-c", script, JSON.stringify(names.map(([, name]) => name))]);
  const expected = JSON.parse(stdout) as string[];
  const rows = names.map(([rule, name], index) => [rule, name, expected[index]]);
  const own = await Promise.all(names.map(async ([rule, name]) => [rule, name, await slugify(name)]));
  expect(own).toEqual(rows);
  expect(new Set(expected).size).toBeGreaterThan(15);
});

test("each letter of the common scripts has the slug of python-slugify", async () => {
  const blocks: [first: number, last: number][] = [
    [0xa0, 0x24f],
    [0x386, 0x3ce],
    [0x400, 0x4ff],
    [0x531, 0x587],
    [0x5d0, 0x5ea],
    [0x620, 0x6d3],
    [0x905, 0x939],
    [0xe01, 0xe2e],
    [0x3041, 0x3094],
    [0x30a1, 0x30fa],
    [0x4e00, 0x9fa5],
    [0xac00, 0xd7a3],
  ];
  // Between two letters, so that a dash shows.
  const script =
    "import json, sys; from slugify import slugify; print(json.dumps([slugify(f'a{chr(c)}z') for first, last in json.loads(sys.argv[1]) for c in range(first, last + 1)]))";
  const { stdout } = await runCommand(inject("python"), ["-c", script, JSON.stringify(blocks)]);
  const expected = JSON.parse(stdout) as string[];
  const letters = blocks.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, index) => String.fromCodePoint(first + index)),
  );
  expect(expected).toHaveLength(letters.length);
  const own = await Promise.all(letters.map((letter) => slugify(`a${letter}z`)));
  const different = letters.flatMap((letter, index) =>
    own[index] === expected[index] ? [] : [[letter, own[index], expected[index]]],
  );
  expect(different).toEqual([]);
});
