// Which view the address names: #/queue, #/images?state=labelled ... Nothing of it reaches the server.
import { Store } from "./store";

export interface Route {
  view: string;
  parts: URLSearchParams;
}

function read(): Route {
  const [path, rest = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path || "queue", parts: new URLSearchParams(rest) };
}

export const route = new Store<Route>(read());
window.addEventListener("hashchange", () => route.set(read()));

export const to = (view: string, parts: Record<string, string> = {}): string => {
  const said = new URLSearchParams(Object.entries(parts).filter(([, value]) => value)).toString();
  return `#/${view}${said ? `?${said}` : ""}`;
};

/** Keeps filters in the address without a step in the history for each letter. */
export function replaceParts(view: string, parts: Record<string, string>): void {
  history.replaceState(null, "", to(view, parts));
  route.set(read());
}
