// What a model thinks comes with its scores; what could be answered is the label in it.
import type { KindName, Raw } from "./types";

/** The label that accepting a guess would give; boxes, points and masks are labels as they come. */
export function labelOf(guess: unknown, kind: KindName): Raw | null {
  if (guess === null || guess === undefined) return null;
  if (kind === "classes" && typeof guess === "object") return String((guess as { class?: unknown }).class ?? "") || null;
  if (kind === "tags" && !Array.isArray(guess)) return Object.keys((guess as { classes?: object }).classes ?? {});
  return guess as Raw;
}

/** Whether labels of a kind are words about the whole picture; others have places in it, and are drawn. */
export const isWords = (kind: KindName): boolean => kind === "classes" || kind === "tags";
