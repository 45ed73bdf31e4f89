// The page of keys.
import { useEffect, useRef } from "preact/hooks";
import { editorOf } from "./edit";
import type { Project } from "./types";

const EVERYWHERE: [string, string][] = [
  ["S", "skip this picture"],
  ["Z", "take the last answer back"],
  ["left, right", "look at the picture before, the next one; nothing is answered"],
  ["/", "find a class by its name"],
  ["Ctrl Z", "undo one step within this picture"],
  ["+ \u2212 0, wheel", "zoom in, out, whole picture; right mouse button moves it"],
  ["?", "this page"],
];

export function Help({ project, close }: { project: Project; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="over" aria-labelledby="keys-title" onClose={close} onClick={(event) => event.target === dialog.current && close()}>
      <h2 id="keys-title">Keys</h2>
      <table>
        <tbody>
          {[...editorOf(project).keys, ...EVERYWHERE].map(([key, what]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="hint">labelwise {project.version}. Nothing on this page comes from elsewhere or goes there.</p>
      <form method="dialog">
        <button class="primary">Close</button>
      </form>
    </dialog>
  );
}
