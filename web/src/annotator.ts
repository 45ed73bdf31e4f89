// Who labels: asked once, kept in this browser, never wanted.
import { Store } from "./store";

const KEY = "labelwise:annotator";

function kept(): string {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // a browser that keeps nothing asks again
  }
}

export const annotator = new Store(kept());
annotator.listen((name) => {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // see above
  }
});
