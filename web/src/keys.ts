// Which key means which class: 1 to 9, then the letters that no action has.

/** Letters that mean something else somewhere; the same everywhere, so that a class keeps its key. */
const TAKEN = new Set(["b", "h", "n", "s", "z"]);
const SIGNS = [..."123456789", ..."acdefgijklmopqrtuvwxy"].filter((sign) => !TAKEN.has(sign));

/** The key of a class by its place; "" for classes beyond the signs there are ("/" finds those by name). */
export const keyOf = (place: number): string => SIGNS[place] ?? "";

/** The place of the class that a key means; -1 where it means none. */
export function placeOf(key: string, classes: number): number {
  const place = SIGNS.indexOf(key.toLowerCase());
  return place < classes ? place : -1;
}

/** Whether somebody is writing, or has a button or a list under the cursor that wants this key itself. */
export function isTyping(event: KeyboardEvent): boolean {
  const on = event.target;
  if (!(on instanceof HTMLElement)) return false;
  if (on.matches("input:not([type=checkbox]):not([type=range]):not([type=radio]), textarea, select") || on.isContentEditable) return true;
  // Enter and the space bar press the button that has the focus: keyboards alone work as everywhere else
  return (event.key === "Enter" || event.key === " ") && on.closest("button, a, summary, [role=option]") !== null;
}
