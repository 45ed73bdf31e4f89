// Kinds that this page cannot draw yet: what the model thinks can be seen, accepted or skipped.
import { EMPTY } from "./draft";
import type { Editor } from "./editor";
import type { Raw } from "../types";

export const viewOnly: Editor = {
  begin: (_project, start, guessed) => ({ ...EMPTY, rest: { start }, guessed }),
  finish: (_project, draft) => {
    const start = draft.rest.start as Raw | null | undefined;
    return start ? { label: start } : { wait: "This page cannot draw such labels yet: skip it here, and label it with `labelwise push` or `export`." };
  },
  name: ({ draft }) => ({ draft }),
  count: () => 0,
  drawnByServer: true,
  Panel: () => (
    <p class="hint">
      Labels of this kind are shown here and not drawn yet. Enter accepts what the model thinks as it is, S skips; whatever has to be
      drawn goes through <code>labelwise export</code> or <code>push</code> to a tool and comes back by <code>import</code> or <code>pull</code>.
    </p>
  ),
  keys: [["Enter", "accept what the model thinks, as it is"]],
};
