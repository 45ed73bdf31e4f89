// The pictures that were looped: the first five hundred, how they differ from all, and what can be done with all of them.
import { useEffect, useState } from "preact/hooks";
import { api, picture, Refused } from "../api";
import { Tagging } from "../images/tagging";
import { projectSoon } from "../project";
import { lastPart, number, plural, shown } from "../text";
import type { Project } from "../types";
import { Ask } from "./ask";
import { Compared } from "./compared";
import type { Grouping } from "./groups";

const MOST = 500;

interface One {
  id: string;
  label: string;
  predicted: string;
}

interface Props {
  project: Project;
  which: number[];
  grouping: Grouping;
  open: (id: string) => void;
  mark: (which: number[]) => void;
}

/** Examples of a search for more like them, at most. */
const EXAMPLES = 100;

export function Found({ project, which, grouping, open, mark }: Props) {
  const [items, setItems] = useState<One[] | null>(null);
  const [trouble, setTrouble] = useState("");
  const [said, say] = useState("");
  const failed = (error: unknown) => setTrouble(error instanceof Refused ? error.message : String(error));
  const skip = () =>
    void api.skipMarked({ at: which }).then(({ done, left }) => {
      say(`skipped ${plural(done, "image")}${left ? `; ${number(left)} have a label or were skipped, and stay as they are` : ""}`);
      projectSoon();
    }, failed);
  const more = () =>
    void api.like({ at: which }).then(({ at }) => {
      say(`${plural(at.length, "image")} most like them are marked now`);
      mark(at);
    }, failed);
  useEffect(() => {
    let here = true;
    setItems(null);
    setTrouble("");
    api.mapItems(which.slice(0, MOST)).then(
      (found) => here && setItems(found.items),
      (error) => here && failed(error),
    );
    return () => void (here = false);
  }, [which]);
  return (
    <section class="found" aria-label="Images in the loop">
      <h2>
        {plural(which.length, "image")}
        {which.length > MOST && `, the first ${number(MOST)} here`}
        <button type="button" onClick={() => mark([])}>
          Clear
        </button>
      </h2>
      <Ask which={which} />
      <p class="buttons">
        <button type="button" onClick={more} disabled={which.length > EXAMPLES} title={which.length > EXAMPLES ? `mark ${EXAMPLES} images at most` : "Marks the 200 images most like these"}>
          More like these
        </button>
        <button type="button" onClick={skip} title="They are not asked until they are restored">
          Skip these
        </button>
      </p>
      <Tagging project={project} which={{ at: which }} changed={() => undefined} />
      <p role="status">{said}</p>
      <Compared which={which} grouping={grouping} />
      {trouble && <p role="alert">{trouble}</p>}
      <ul class="near">
        {(items ?? []).map((one) => (
          <li key={one.id}>
            <button type="button" class="plain" title={shown(one.id)} onClick={() => open(one.id)}>
              <img src={picture(one.id, 96)} alt="" loading="lazy" />
              <bdi class="cut">{shown(one.label || (one.predicted && `${one.predicted}?`) || lastPart(one.id))}</bdi>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
