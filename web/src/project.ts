// What the project is and how far it has come, read again when something may have changed it.
import { api, Refused } from "./api";
import { Store } from "./store";
import type { Project } from "./types";

export const project = new Store<Project | null>(null);
/** Why there is no project to show; "" while there is one or it is on its way. */
export const trouble = new Store("");

let waiting: ReturnType<typeof setTimeout> | undefined;

export async function readProject(): Promise<void> {
  try {
    project.set(await api.project());
    trouble.set("");
  } catch (error) {
    trouble.set(error instanceof Refused ? error.message : String(error));
    if (!project.value) projectSoon(3000); // the first one is asked for until it is there
  }
}

/** Reads the project a little later, once for however many answers come in between. */
export function projectSoon(after = 800): void {
  clearTimeout(waiting);
  waiting = setTimeout(() => void readProject(), after);
}
