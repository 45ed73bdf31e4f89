// The only file that talks to the server.
import type { Answer, Answered, Done, Findings, Item, Job, MapColumns, MapState, Marked, Outgoing, Progress, Project, Queue, Strategies, StudyAbout, StudyCurves, StudyPicks, Tile } from "./types";

/** An answer of the server that is no success, or (status 0) no answer at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }

  /** Whether the same request may well succeed later: nobody answered, the project is held, the server broke. */
  get passing(): boolean {
    return this.status === 0 || this.status === 403 || this.status === 409 || this.status >= 500;
  }
}

const HINTS: Record<number, string> = {
  0: "the server does not answer: is `labelwise serve` still running?",
  403: "the server does not know this browser: open the address that `labelwise serve` printed once more",
};

async function ask(path: string, how?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...how });
  } catch {
    throw new Refused(0, HINTS[0]);
  }
  if (response.ok) return response;
  let said = "";
  try {
    said = String(((await response.json()) as { error?: unknown }).error ?? "");
  } catch {
    // a proxy or a crash answered: there is no line of ours in it
  }
  throw new Refused(response.status, HINTS[response.status] ?? (said || `the server answered ${response.status}`));
}

const get = async <T>(path: string): Promise<T> => (await ask(path, { headers: { Accept: "application/json" } })).json() as Promise<T>;

async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json", "X-Labelwise": "1" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json() as Promise<T>;
}

/** A query string; what is empty is left out. */
export function query(parts: Record<string, string | number | null | undefined>): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(parts)) if (value !== null && value !== undefined && value !== "") said.set(name, String(value));
  const text = said.toString();
  return text ? `?${text}` : "";
}

/** The sides that the server keeps pictures at; others would fill its cache. */
export type Side = 96 | 192 | 384 | 1280 | 2560;

export const picture = (id: string, side: Side): string => `/api/picture${query({ id, side })}`;
/** A picture with a label drawn by the server; `fresh` tells one state of the label from the next. */
export const drawn = (id: string, side: Side, what: "label" | "before" | "guess", fresh = 0): string =>
  `/api/drawn${query({ id, side, what, fresh: fresh || null })}`;

/** Bytes behind a width and a height. */
async function sized(response: Response): Promise<{ width: number; height: number; rest: ArrayBuffer }> {
  const all = await response.arrayBuffer();
  const [width, height] = new Uint32Array(all, 0, 2);
  return { width, height, rest: all.slice(8) };
}

/** Long work, and how. */
export interface Work {
  what: "fit" | "suggest" | "errors" | "duplicates" | "advise" | "report" | "export";
  count?: number | null;
  strategy?: string | null;
  more?: boolean;
  among?: number[];
  use?: "labelled" | "asked";
  format?: string;
}

export const api = {
  project: () => get<Project>("/api/project"),
  queue: (count: number, after: string | null) => get<Queue>(`/api/queue${query({ count, after })}`),
  answers: (answers: Answer[]) => post<Answered>("/api/answers", { answers }),
  takeback: (id: string) => post<{ ok: boolean }>("/api/takeback", { id }),
  images: (parts: Record<string, string | number>) => get<{ total: number; items: Tile[] }>(`/api/images${query(parts)}`),
  mask: async (id: string, what: "label" | "guess") => {
    const { width, height, rest } = await sized(await ask(`/api/mask${query({ id, what })}`));
    return { width, height, rows: new Uint8Array(rest) };
  },
  /** 1 for each pixel of the picture that is asked about. */
  region: async (id: string) => new Uint8Array((await sized(await ask(`/api/region${query({ id })}`))).rest),
  superpixels: async (id: string, count: number) => {
    const { width, height, rest } = await sized(await ask(`/api/superpixels${query({ id, count })}`));
    return { width, height, numbers: new Uint16Array(rest) };
  },
  item: (id: string) => get<Item>(`/api/item${query({ id })}`),
  map: () => get<MapState>("/api/map"),
  startMap: (method: string) => post<unknown>("/api/map", { method }),
  mapPoints: async () => new Float32Array(await (await ask("/api/map/points")).arrayBuffer()),
  mapColumns: () => get<MapColumns>("/api/map/columns"),
  mapItems: (at: number[]) => get<{ items: { id: string; label: string; predicted: string }[] }>(`/api/map/items${query({ at: at.join(",") })}`),
  findings: () => get<Findings>("/api/findings"),
  skipMarked: (which: Marked) => post<Done>("/api/marked/skip", which),
  askAgain: (which: Marked) => post<Done>("/api/marked/again", which),
  tag: (which: Marked, tag: string, on: boolean) => post<Done>("/api/marked/tag", { ...which, tag, on }),
  like: (which: Marked) => post<{ at: number[] }>("/api/marked/like", which),
  progress: () => get<Progress>("/api/progress"),
  strategies: () => get<Strategies>("/api/strategies"),
  job: () => get<Job>("/api/job"),
  startJob: (body: Work) => post<unknown>("/api/job", body),
  outgoing: () => get<Outgoing>("/api/outgoing"),
  stopJob: () => post<unknown>("/api/job/stop", {}),
};

export const study = {
  about: () => get<StudyAbout>("/api/study"),
  curves: (seeds: number[], unit: string, metric: string) =>
    get<StudyCurves>(`/api/study/curves?${seeds.map((seed) => `seeds=${seed}`).join("&")}&${query({ unit, metric }).slice(1)}`),
  picks: (strategy: string, seed: number, round: number) => get<StudyPicks>(`/api/study/picks${query({ strategy, seed, round })}`),
};
