// Names come from files and from strangers: they are shown as text that cannot break a line, hide, or turn its surroundings.

/** Signs that move or hide other text; each is shown by its number instead. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** A name in one line, with every sign in it to be seen. */
export function shown(name: string): string {
  return name.replace(UNSEEN, (sign) => (sign === "\n" ? "\u23ce" : `\u2039U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u203a`));
}

/** The last part of a path, which people know a picture by. */
export function lastPart(id: string): string {
  return shown(id.slice(id.lastIndexOf("/") + 1) || id);
}

export const number = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: 0 });

/** Three digits that count; `-` where there is none. */
export function score(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  return Number(value.toPrecision(3)).toString();
}

export const percent = (share: number): string => `${(100 * share).toFixed(share > 0.0995 || share === 0 ? 0 : 1)} %`;

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${number(count)} ${count === 1 ? one : many}`;

/** A raw label in a few words. */
export function inWords(raw: unknown, noun: string): string {
  if (raw === null || raw === undefined) return "nothing";
  if (typeof raw === "string") return shown(raw);
  if (Array.isArray(raw)) return raw.length ? raw.map((one) => shown(String(one))).join(", ") : "none of the classes";
  const things = (raw as { objects?: unknown[] }).objects;
  return things ? plural(things.length, noun === "point" ? "object" : noun, noun === "box" ? "boxes" : undefined) : "a mask";
}
