// Mistakes in PREFECT_API_URL about which the reference does not warn, and the URL that was probably meant. Pure.

const workspacePath = /\/accounts?\/([^/]+)\/workspaces?\/([^/]+)/;

/** Returns the mistakes in `text`, which is a valid URL. `exposes` is true if others could read the key. */
export function findUrlMistakes(text: string, cloudApiUrl: string): { what: string; exposes: boolean }[] {
  const url = new URL(text);
  const isCloud = isCloudHost(url, cloudApiUrl);
  const rows: [isMistake: boolean, what: string, exposes: boolean][] = [
    [isCloud && isPlain(url, cloudApiUrl), "http:// shows the key to everybody on the way to Prefect Cloud.", true],
    [isCloud && !workspacePath.test(url.pathname), "The path names no workspace of Prefect Cloud.", false],
    [
      !isCloud && !/\/api\/*$/.test(url.pathname),
      "The path does not end in /api as a self-hosted server's does.",
      false,
    ],
  ];
  return rows.flatMap(([isMistake, what, exposes]) => (isMistake ? [{ what, exposes }] : []));
}

/** Returns the URL that the user probably meant, without user and password. */
export function correctedUrl(text: string, cloudApiUrl: string): string {
  const url = new URL(text);
  if (!isCloudHost(url, cloudApiUrl)) return `${url.origin}${url.pathname.replace(/(\/api)?\/*$/, "/api")}`;
  const [, account = "ACCOUNT_ID", workspace = "WORKSPACE_ID"] = workspacePath.exec(url.pathname) ?? [];
  if (url.hostname === "app.prefect.cloud") url.hostname = "api.prefect.cloud";
  if (isPlain(url, cloudApiUrl)) url.protocol = "https:";
  return `${url.origin}/api/accounts/${account}/workspaces/${workspace}`;
}

function isCloudHost(url: URL, cloudApiUrl: string): boolean {
  const isNamed = URL.canParse(cloudApiUrl) && new URL(cloudApiUrl).host === url.host;
  return isNamed || /^(app|api)\.prefect\.cloud$/.test(url.hostname);
}

function isPlain(url: URL, cloudApiUrl: string): boolean {
  return url.protocol === "http:" && !cloudApiUrl.startsWith("http:");
}
