// One class a picture: its key is the answer.
import { EMPTY } from "./draft";
import type { Editor } from "./editor";

export const classes: Editor = {
  begin: (_project, start, guessed) => ({ ...EMPTY, picked: typeof start === "string" ? [start] : [], guessed }),
  finish: (_project, draft) =>
    draft.picked.length ? { label: draft.picked[0] } : { wait: "There is no guess to accept: press the key of a class." },
  name: ({ draft }, cls) => ({ draft: { ...draft, picked: [cls] }, send: true }),
  count: (draft, cls) => (draft.picked.includes(cls) ? 1 : 0),
  keys: [
    ["1 \u2026 9, letters", "this class, and on to the next picture"],
    ["Enter", "the class that the model thinks"],
  ],
};
