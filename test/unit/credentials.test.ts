import { describe, expect, test } from "vitest";
import { type CredentialChoice, Credentials } from "../../src/api/credentials.ts";
import type { Authorization } from "../../src/settings/connection.ts";

const bearer = (key: string): Authorization => ({
  kind: "bearer",
  header: `Bearer ${key}`,
  token: key,
  origin: "the key",
});
const basic: Authorization = { kind: "basic", header: "Basic dTpw", token: "u:p", origin: "the auth string" };

function open(
  choice: CredentialChoice,
  reloads: CredentialChoice[] = [],
): { credentials: Credentials; said: string[] } {
  const said: string[] = [];
  const credentials = new Credentials(
    choice,
    () => reloads.shift() ?? choice,
    (message) => said.push(message),
  );
  return { credentials, said };
}

describe("refused credentials", () => {
  test("stay what they are when there is nothing else", () => {
    const { credentials, said } = open({ authorization: bearer("a"), fallback: null });
    expect(credentials.tryReplace(credentials.current)).toBe(false);
    expect([credentials.current, said]).toEqual([bearer("a"), []]);
  });

  test("give way to the fallback, once, with one message", () => {
    const { credentials, said } = open({ authorization: bearer("a"), fallback: basic });
    expect(credentials.tryReplace(bearer("a"))).toBe(true);
    expect(credentials.current).toEqual(basic);
    expect(credentials.tryReplace(basic)).toBe(false);
    expect(said).toEqual(["The server refused the key; going on with the auth string as Basic."]);
  });

  test("give way to a rotated secret before the fallback", () => {
    const rotated = { authorization: bearer("b"), fallback: basic };
    const { credentials, said } = open({ authorization: bearer("a"), fallback: basic }, [rotated, rotated]);
    expect(credentials.tryReplace(bearer("a"))).toBe(true);
    expect(credentials.current).toEqual(bearer("b"));
    expect(credentials.tryReplace(bearer("b"))).toBe(true);
    expect(credentials.current).toEqual(basic);
    expect(said).toHaveLength(2);
  });

  test("that another caller has replaced meanwhile are just to be sent again", () => {
    const { credentials, said } = open({ authorization: bearer("a"), fallback: basic });
    credentials.tryReplace(bearer("a"));
    expect(credentials.tryReplace(bearer("a"))).toBe(true);
    expect(said).toHaveLength(1);
  });
});
