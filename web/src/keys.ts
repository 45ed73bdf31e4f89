// Which key means which class: its own name where that is a digit or a letter, else 1 to 9 and the letters that no action has.

/** Letters that mean something else somewhere; the same everywhere, so that a class keeps its key. */
const TAKEN = new Set(["b", "f", "h", "l", "n", "s", "z"]);
const SIGNS = [..."123456789", ..."abcdefghijklmnopqrstuvwxyz"].filter((sign) => !TAKEN.has(sign));

const known = new WeakMap<readonly string[], string[]>();

/** The key of each class: its name where that is one of the signs, else the first that is left; "" for those beyond the signs there are ("/" finds those by name). */
export function keysOf(classes: readonly string[]): string[] {
  let keys = known.get(classes);
  if (!keys) {
    const own = classes.map((cls) => cls.toLowerCase()).map((cls, at, all) => (SIGNS.includes(cls) && all.indexOf(cls) === at ? cls : ""));
    const left = SIGNS.filter((sign) => !own.includes(sign));
    keys = own.map((sign) => sign || (left.shift() ?? ""));
    known.set(classes, keys);
  }
  return keys;
}

/** The place of the class that a key means; -1 where it means none. */
export function placeOf(key: string, classes: readonly string[]): number {
  return key ? keysOf(classes).indexOf(key.toLowerCase()) : -1;
}

/** Whether somebody is writing, or has a button or a list under the cursor that wants this key itself. */
export function isTyping(event: KeyboardEvent): boolean {
  const on = event.target;
  if (!(on instanceof HTMLElement)) return false;
  if (on.matches("input:not([type=checkbox]):not([type=range]):not([type=radio]), textarea, select") || on.isContentEditable) return true;
  // Enter and the space bar press the button that has the focus: keyboards alone work as everywhere else
  return (event.key === "Enter" || event.key === " ") && on.closest("button, a, summary, [role=option]") !== null;
}
