// How far away a time is. The expected texts are those of pendulum 3, which Prefect uses.
import { expect, test } from "vitest";
import { humanDifference } from "../../src/cli/human-time.ts";

const now = Date.parse("2026-11-30T12:00:00Z");

test.each([
  ["2026-11-30T12:00:00Z", "a few seconds ago"],
  ["2026-11-30T11:59:50Z", "a few seconds ago"],
  ["2026-11-30T11:59:49Z", "11 seconds ago"],
  ["2026-11-30T11:59:00Z", "1 minute ago"],
  ["2026-11-30T11:58:01Z", "1 minute ago"],
  ["2026-11-30T11:00:00Z", "1 hour ago"],
  ["2026-11-30T10:00:01Z", "1 hour ago"],
  ["2026-11-29T14:00:00Z", "22 hours ago"],
  ["2026-11-29T12:00:00Z", "1 day ago"],
  ["2026-11-28T13:00:00Z", "2 days ago"],
  ["2026-11-28T14:30:00Z", "1 day ago"],
  ["2026-11-23T12:00:00Z", "1 week ago"],
  ["2026-11-19T12:00:00Z", "2 weeks ago"],
  ["2026-11-18T11:00:00Z", "2 weeks ago"],
  ["2026-10-31T12:00:00Z", "1 month ago"],
  ["2026-10-30T11:00:00Z", "1 month ago"],
  ["2026-10-01T12:00:00Z", "2 months ago"],
  ["2026-10-03T12:00:00Z", "2 months ago"],
  ["2025-12-10T12:00:00Z", "1 year ago"],
  ["2025-12-20T12:00:00Z", "11 months ago"],
  ["2025-11-30T12:00:00Z", "1 year ago"],
  ["2025-03-30T12:00:00Z", "2 years ago"],
  ["2024-02-29T12:00:00Z", "3 years ago"],
  ["2026-12-01T12:00:00Z", "in 1 day"],
  ["2026-11-30T12:00:20Z", "in 20 seconds"],
  ["2026-11-30T12:00:05Z", "in a few seconds"],
  ["2027-01-31T12:00:00Z", "in 2 months"],
  ["2026-12-30T12:00:00Z", "in 1 month"],
  ["2027-02-28T12:00:00Z", "in 3 months"],
  ["2028-11-30T12:00:00Z", "in 2 years"],
])("%s is %s", (time, expected) => {
  expect(humanDifference(Date.parse(time), now)).toBe(expected);
});
