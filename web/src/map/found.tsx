// The pictures that were looped: the first five hundred, and how many there are in all.
import { useEffect, useState } from "preact/hooks";
import { api, picture, Refused } from "../api";
import { lastPart, number, plural, shown } from "../text";
import { Ask } from "./ask";

const MOST = 500;

interface One {
  id: string;
  label: string;
  predicted: string;
}

export function Found({ which, open, clear }: { which: number[]; open: (id: string) => void; clear: () => void }) {
  const [items, setItems] = useState<One[] | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    let here = true;
    setItems(null);
    setTrouble("");
    api.mapItems(which.slice(0, MOST)).then(
      (found) => here && setItems(found.items),
      (error) => here && setTrouble(error instanceof Refused ? error.message : String(error)),
    );
    return () => void (here = false);
  }, [which]);
  return (
    <section class="found" aria-label="Images in the loop">
      <h2>
        {plural(which.length, "image")}
        {which.length > MOST && `, the first ${number(MOST)} here`}
        <button type="button" onClick={clear}>
          Clear
        </button>
      </h2>
      <Ask which={which} />
      {trouble && <p role="alert">{trouble}</p>}
      <ul class="near">
        {(items ?? []).map((one) => (
          <li key={one.id}>
            <button type="button" class="plain" title={shown(one.id)} onClick={() => open(one.id)}>
              <img src={picture(one.id, 96)} alt={lastPart(one.id)} loading="lazy" />
              <bdi class="cut">{shown(one.label || (one.predicted && `${one.predicted}?`) || lastPart(one.id))}</bdi>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
