// Any number of classes a picture: keys switch them, Enter sends what is switched on.
import { EMPTY } from "./draft";
import type { Editor } from "./editor";

export const tags: Editor = {
  begin: (_project, start, guessed) => ({ ...EMPTY, picked: Array.isArray(start) ? [...start] : [], guessed }),
  finish: (project, draft) => {
    // in the order of the project, so that the same answer is the same text
    const label = project.classes.filter((one) => draft.picked.includes(one));
    return label.length ? { label } : { label, ask: "No class is switched on: Enter once more says that none of them is there." };
  },
  name: ({ draft }, cls) => ({
    draft: { ...draft, picked: draft.picked.includes(cls) ? draft.picked.filter((one) => one !== cls) : [...draft.picked, cls] },
  }),
  count: (draft, cls) => (draft.picked.includes(cls) ? 1 : 0),
  keys: [
    ["1 \u2026 9, letters", "switch a class on or off"],
    ["Enter", "send the classes that are on"],
  ],
};
