// By what the map is coloured. Each group has a colour, a shape and a word: no one of the three is needed to tell them apart.
import { shown } from "../text";
import type { MapColumns, Project } from "../types";

export type By = "state" | "class" | "predicted" | "doubt" | "round";

export interface Group {
  name: string;
  colour: string;
  shape: number;
  count: number;
}

export interface Grouping {
  groups: Group[];
  /** The group of each image. */
  of: Uint8Array;
}

/** The order of the shapes is that of the fragment shader. */
export const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "ring"];
const COLOURS = ["#2f7fc1", "#d55e00", "#009e73", "#b5538f", "#c98500", "#6aa9d8", "#8d6b4a", "#7a6fd0"];
const PALE = "#8b929c";
/** From sure to doubtful: darker and lighter grounds both keep all five apart. */
const RAMP = ["#3b6fb6", "#3f9fb0", "#58b368", "#e0a526", "#dd4b39"];
/** Groups beyond this many share the last one. */
export const MOST = 48;

export const BYS: [By, string][] = [
  ["state", "State"],
  ["class", "Label"],
  ["predicted", "Predicted class"],
  ["doubt", "Doubt"],
  ["round", "Round"],
];

const STATES: [string, string, number][] = [
  ["not asked", PALE, 0],
  ["waiting", "#d55e00", 3],
  ["labelled", "#2f7fc1", 1],
  ["skipped", "#b5538f", 4],
  ["held out", "#c98500", 2],
];
const BINS: [string, number][] = [
  ["sure: below 20 %", 0],
  ["20 to 40 %", 1],
  ["40 to 60 %", 3],
  ["60 to 80 %", 2],
  ["doubtful: above 80 %", 4],
];

/** Colour and shape of the n-th of many: the pairs of the first 48 are all different. */
function look(at: number): { colour: string; shape: number } {
  const [colour, turn] = [at % COLOURS.length, Math.floor(at / COLOURS.length)];
  return { colour: COLOURS[colour], shape: (colour + turn) % SHAPES.length };
}

export function grouping(by: By, columns: MapColumns, project: Project): Grouping {
  const of = new Uint8Array(columns.count);
  const groups = named(by, columns, project);
  const none = groups.length - 1;
  for (let at = 0; at < columns.count; at++) {
    const group = place(by, columns, at, none);
    of[at] = group < 0 || group > none ? none : group;
    groups[of[at]].count++;
  }
  return { groups, of };
}

function place(by: By, columns: MapColumns, at: number, none: number): number {
  if (by === "doubt") {
    const doubt = columns.doubt[at];
    return doubt === null || doubt === undefined || !Number.isFinite(doubt) ? none : Math.min(4, Math.floor(doubt * 5));
  }
  const code = columns[by][at];
  // the last group is of those without; classes beyond the bound go to the one before it
  return code < 0 ? none : by === "state" ? code : Math.min(code, none - 1);
}

function named(by: By, columns: MapColumns, project: Project): Group[] {
  const group = (name: string, colour: string, shape: number): Group => ({ name, colour, shape, count: 0 });
  if (by === "state") return STATES.map(([name, colour, shape]) => group(name, colour, shape));
  if (by === "doubt") return [...BINS.map(([name, shape], at) => group(name, RAMP[at], shape)), group("no prediction", PALE, 5)];
  const names = by === "round" ? Array.from({ length: most(columns.round) + 1 }, (_one, at) => `round ${at}`) : project.classes.map(shown);
  const first = names.slice(0, MOST).map((name, at) => {
    const { colour, shape } = look(at);
    return group(name, by === "round" ? colour : (project.colours[at] ?? colour), shape);
  });
  if (names.length > MOST) first[MOST - 1].name = `${names.length - MOST + 1} further ones`;
  return [...first, group(by === "round" ? "in no round" : by === "class" ? "no label" : "no prediction", PALE, 5)];
}

/** `Math.max(...all)` of a million numbers is more than a call can take. */
function most(values: number[]): number {
  let found = -1;
  for (const value of values) if (value > found) found = value;
  return found;
}
