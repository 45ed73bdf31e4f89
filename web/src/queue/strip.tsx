// The pictures around the one that is shown, and what became of those answered: in a word and a mark, not by colour alone.
import { useEffect, useRef } from "preact/hooks";
import { picture } from "../api";
import { lastPart, plural } from "../text";
import type { Session } from "./session";

const MARKS = { sending: ["…", "not saved yet"], saved: ["✓", "saved"], refused: ["!", "refused"] } as const;
/** Small pictures on either side: more are neither seen nor worth their requests. */
const BESIDE = 14;

export function Strip({ queue }: { queue: Session }) {
  const here = useRef<HTMLLIElement>(null);
  useEffect(() => here.current?.scrollIntoView({ block: "nearest", inline: "center" }), [queue.at]);
  const first = Math.max(0, queue.at - BESIDE);
  return (
    <nav class="strip" aria-label="Queue">
      <ol start={first + 1}>
        {queue.picks.slice(first, queue.at + BESIDE + 1).map((pick, place) => {
          const at = first + place;
          const given = queue.given.get(pick.id);
          const skipped = given?.label === null && given.state !== "refused";
          const [mark, word] = given ? MARKS[given.state] : ["", ""];
          return (
            <li key={pick.id} ref={at === queue.at ? here : undefined}>
              <button
                type="button"
                class={given ? given.state : ""}
                aria-current={at === queue.at ? "true" : undefined}
                title={`${lastPart(pick.id)}${word && `: ${skipped ? "skipped, " : ""}${word}`}`}
                onClick={(event) => {
                  event.currentTarget.blur();
                  queue.show(at);
                }}
              >
                <img src={picture(pick.id, 96)} alt={lastPart(pick.id)} loading="lazy" />
                {given && <span aria-hidden="true">{skipped && given.state === "saved" ? "⤼" : mark}</span>}
              </button>
            </li>
          );
        })}
      </ol>
      <p>{plural(queue.open, "picture")} here to be answered</p>
    </nav>
  );
}
