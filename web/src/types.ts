// What the server says and is told. `Raw` is the raw label of the project's kind, as its event table keeps it.

export type KindName = "classes" | "tags" | "boxes" | "points" | "masks";
export type Size = [number, number];
export type Box = [number, number, number, number];
/** x, y in pixels; 2 seen, 1 hidden, 0 outside or not marked. */
export type Point = [number, number, number];

/** One object of a label. What is not named here is kept as it came: other programs may need it. */
export interface Thing {
  class: string;
  box?: Box | null;
  points?: Point[];
  angle?: number;
  score?: number | null;
  extra?: Record<string, unknown>;
  [key: string]: unknown;
}

export interface Things {
  size: Size;
  objects: Thing[];
  [key: string]: unknown;
}

export type Raw = string | string[] | Things;

export interface Counts {
  labelled: number;
  pending: number;
  skipped: number;
  unlabelled: number;
}

export interface Project {
  name: string;
  task: string;
  kind: KindName;
  noun: string;
  classes: string[];
  colours: string[];
  points: string[] | null;
  limbs: [number, number][] | null;
  counts: Counts;
  round: number | null;
  labelled_by: string[];
  tags: string[];
  strategy: string;
  version: string;
  editable: boolean;
}

export interface Says {
  class: string;
  probability: number;
}

export interface Pick {
  id: string;
  /** The picture it is, or lies in. */
  image: string;
  rank: number | null;
  score: number | null;
  round: number | null;
  strategy: string | null;
  /** null where the file cannot be read. */
  size: Size | null;
  why: string[];
  /** With scores, in a form of the kind; `labelOf` gives the label in it. */
  guess: unknown;
  says: Says[];
  neighbours: { id: string; label: string }[];
}

export interface Queue {
  total: number;
  picks: Pick[];
}

export interface Answer {
  id: string;
  label: Raw | null;
  skip: boolean;
  reason: string;
  seconds: number;
  annotator: string;
}

export interface Answered {
  labelled: number;
  corrected: number;
  skipped: number;
  unchanged: number;
  pending: number;
  notes: string[];
}

export type State = "labelled" | "pending" | "skipped" | "unlabelled";

export interface Tile {
  id: string;
  state: State;
  split: string;
  label: string;
  classes: string[];
  predicted: string[];
  doubt: number | null;
  round: number | null;
  rank: number | null;
  annotators: string[];
  tags: string[];
  /** What speaks against its label, where it looks wrong. */
  wrong: string | null;
  /** Number of its group of near-duplicates. */
  group: number | null;
  /** How much it is like the image that was asked for, at most 1. */
  alike: number | null;
}

/** What was looked for among the images; null for what was not. */
export interface Findings {
  errors: { judged: number; left: number; labels: number } | null;
  duplicates: { groups: number; images: number; threshold: number } | null;
  tags: Record<string, number>;
  /** Whether images can be compared: their features were read. */
  features: boolean;
}

/** Images that somebody marked: by their points on the map, or by name. */
export interface Marked {
  at?: number[];
  ids?: string[];
}

export interface Done {
  done: number;
  left: number;
}

export interface Item extends Omit<Tile, "label"> {
  /** The picture it is, or lies in. */
  image: string;
  size: Size | null;
  /** The label in a few words. */
  words: string;
  label: Raw | null;
  labels: { annotator: string; label: Raw }[];
  guess: unknown;
  says: Says[];
  round: number | null;
  rank: number | null;
  score: number | null;
  why: string[];
  reason?: string;
  cost?: Record<string, number>;
  before?: Raw | null;
}

export interface MapState {
  state: "none" | "working" | "ready" | "failed";
  done: number;
  total: number;
  method: string | null;
  count: number;
  error: string;
}

export interface MapColumns {
  count: number;
  state: number[];
  class: number[];
  predicted: number[];
  doubt: (number | null)[];
  round: number[];
}

export interface CurvePoint {
  labels: number;
  value: number | null;
  seconds: number | null;
  round: number | null;
}

export interface Progress {
  metric: string;
  higher_is_better: boolean;
  curve: CurvePoint[];
  tested: number;
  classes: { name: string; count: number }[];
  counts: Counts;
  cost: Record<string, number>;
  notes: string[];
}

export interface Outgoing {
  formats: Record<"labelled" | "asked", { name: string; about: string }[]>;
  /** Whether one was written. */
  report: boolean;
  /** The name of the file that was exported last. */
  exported: string | null;
}

export interface Strategies {
  strategies: { name: string; line: string; fits: boolean; why_not: string }[];
  default: string;
}

export interface Job {
  what: string | null;
  running: boolean;
  // none of these where nothing ran yet
  stage?: string;
  done?: number;
  total?: number;
  seconds?: number;
  notes?: string[];
  error?: string;
}

export interface StudyAbout {
  name: string;
  task: string;
  metric: string;
  metrics: string[];
  strategies: { name: string; colour: string }[];
  seeds: number[];
  units: string[];
  rounds: number;
  warnings: string[];
}

export interface StudyPoint {
  x: number;
  mean: number;
  low: number | null;
  high: number | null;
  n: number;
}

export interface StudyRow {
  strategy: string;
  final: string;
  area: string;
  against: string;
  p: string;
  runs: string;
}

export interface StudyCurves {
  unit: string;
  metric: string;
  words: string;
  lines: { strategy: string; points: StudyPoint[] }[];
  full: number | null;
  says: string;
  notes: string[];
  table: StudyRow[];
}

export interface StudyPicks {
  picks: { id: string; score: number | null }[];
  labels: number | null;
  notes: string[];
  pictures: boolean;
}
