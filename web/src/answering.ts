// The one outbox of this tab, and who wants to know what became of an answer.
import { annotator } from "./annotator";
import { Outbox } from "./outbox";
import { projectSoon } from "./project";
import { Store } from "./store";
import type { Answer, Raw } from "./types";

type Told = (answer: Answer, why: string | null) => void;

const listeners = new Set<Told>();
/** Answers that the server will not take, with its reason: somebody has to know. */
export const refusals = new Store<{ id: string; why: string }[]>([]);

let box: Outbox | null = null;

/** The outbox; made for a project by its name, once that is known. */
export function outbox(name?: string): Outbox {
  if (!box) {
    box = new Outbox(
      name ?? "",
      (answer) => {
        refusals.set(refusals.value.filter((one) => one.id !== answer.id));
        for (const told of listeners) told(answer, null);
        projectSoon();
      },
      (answer, why) => {
        refusals.set([...refusals.value.filter((one) => one.id !== answer.id), { id: answer.id, why }]);
        for (const told of listeners) told(answer, why);
      },
    );
  }
  return box;
}

/** Calls back with each answer that was saved (null) or refused (why). */
export function listen(told: Told): () => void {
  listeners.add(told);
  return () => void listeners.delete(told);
}

export function give(id: string, label: Raw | null, seconds: number): void {
  outbox().put({ id, label, skip: label === null, reason: "", seconds, annotator: annotator.value.trim() });
}
