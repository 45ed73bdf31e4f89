// What somebody is about to answer. One shape for all kinds, so that steps can be taken back and drafts kept the same way.
import type { Project, Raw, Size, Thing } from "../types";
import type { Paint } from "./paint";

export interface Draft {
  /** Classes of the whole picture. */
  picked: string[];
  /** Objects in it. */
  things: Thing[];
  /** The object that keys and the mouse act on; -1 for none. */
  chosen: number;
  /** The key point that they act on; -1 for none. */
  point: number;
  /** The class of the next object. */
  cls: string;
  /** The class of each pixel; null where there is none, or none yet. */
  paint: Paint | null;
  /** Where the keyboard would set a key point, or paint. */
  cross: [number, number] | null;
  /** What else the label said beside its objects: kept as it came. */
  rest: Record<string, unknown>;
  /** Whether it began as what the model thinks. */
  guessed: boolean;
}

export const EMPTY: Draft = { picked: [], things: [], chosen: -1, point: -1, cls: "", paint: null, cross: null, rest: {}, guessed: false };

export interface Context {
  /** Of the picture. */
  id: string;
  /** Whether only a region of the picture is asked about. */
  part: boolean;
  project: Project;
  draft: Draft;
  size: Size;
  /** Pixels of the picture in one pixel of the screen. */
  px: number;
  /** Takes a new draft; `step` false joins it to the step before (a drag is one step). */
  set: (draft: Draft, step?: boolean) => void;
}

/** What a key did: the draft after it, and whether that is the answer. */
export interface Step {
  draft: Draft;
  send?: boolean;
}

/** What follows a press of the mouse until it is let go. */
export interface Drag {
  move: (x: number, y: number, event: PointerEvent) => void;
  up?: (x: number, y: number, event: PointerEvent) => void;
}

/** What Enter would send: a label, perhaps after a question; or why there is nothing to send yet. */
export type Finished = { label: Raw; ask?: string } | { wait: string };

export interface Parts {
  context: Context;
}

/** Where the picture lies on the screen, in pixels of the room it is shown in. */
export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Overlaid extends Parts {
  place: Place;
}

/** The key under which an object remembers what it began as, until it is sent. */
export const BEGUN = "_begun";

const plain = (thing: Thing): Thing => {
  const { [BEGUN]: _begun, ...rest } = thing;
  return rest as Thing;
};

/** The objects of a label, and what else it says. */
export function beginThings(project: Project, start: Raw | null, guessed: boolean): Draft {
  const cls = project.classes[0] ?? "";
  if (!start || typeof start !== "object" || Array.isArray(start)) return { ...EMPTY, cls, guessed };
  const { objects, size: _size, ...rest } = start;
  return { ...EMPTY, things: objects.map((one) => ({ ...one, [BEGUN]: JSON.stringify(one) })), rest, cls, guessed };
}

/** A label of objects as it is sent: scores are a model's and go; how each object came about stands under `extra.origin`. */
export function finishThings(draft: Draft, size: Size): Raw {
  return { ...draft.rest, size, objects: draft.things.map((one) => finished(one, draft.guessed)) };
}

function finished(one: Thing, guessed: boolean): Thing {
  const begun = one[BEGUN];
  const { score, scores: _scores, ...thing } = plain(one);
  const same = begun === JSON.stringify(plain(one));
  const ofModel = guessed || (score !== null && score !== undefined);
  if (same && !ofModel) return thing as Thing; // an old label that nobody changed stays as it is
  const drawn = begun === undefined || (!guessed && thing.extra?.origin === "drawn");
  return { ...thing, extra: { ...thing.extra, origin: drawn ? "drawn" : same ? "accepted" : "corrected" } } as Thing;
}

/** What a file said about the outline of an object: no longer true once its box was changed by hand. */
const OUTLINES = ["rotated", "segmentation", "polygon"];

/** An object whose box or points somebody changed; an outline of the old place goes. */
export function changed(thing: Thing, news: Partial<Thing>): Thing {
  const extra = thing.extra && Object.fromEntries(Object.entries(thing.extra).filter(([key]) => !OUTLINES.includes(key)));
  return { ...thing, ...news, ...(extra ? { extra } : {}) } as Thing;
}

/** Whether a change took the outline of an object with it, which has to be said. */
export function lostOutline(thing: Thing): boolean {
  const begun = thing[BEGUN];
  const before = typeof begun === "string" ? (JSON.parse(begun) as Thing).extra : undefined;
  return OUTLINES.some((key) => before?.[key] !== undefined && thing.extra?.[key] === undefined);
}

/** A draft with one object put in the place of another. */
export const withThing = (draft: Draft, at: number, thing: Thing): Draft => ({
  ...draft,
  things: draft.things.map((one, place) => (place === at ? thing : one)),
});

export const withoutThing = (draft: Draft, at: number): Draft => ({
  ...draft,
  things: draft.things.filter((_one, place) => place !== at),
  chosen: -1,
  point: -1,
  cross: null,
});

export const round = (value: number): number => Math.round(value * 10) / 10;
export const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
