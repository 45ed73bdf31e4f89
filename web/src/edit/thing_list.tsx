// The objects of a draft as a list: what the picture shows in colours is said here in words, and can be chosen by keys.
import { shown } from "../text";
import { BEGUN, lostOutline, type Parts, withoutThing } from "./draft";

export function ThingList({ context }: Parts) {
  const { draft, project, set } = context;
  if (!draft.things.length) return <p class="hint">No {project.noun === "box" ? "box" : "object"} yet.</p>;
  return (
    <ol class="things" aria-label="Objects">
      {draft.things.map((thing, at) => (
        <li key={at} class={at === draft.chosen ? "chosen" : ""}>
          <button type="button" class="plain" aria-pressed={at === draft.chosen} onClick={() => set({ ...draft, chosen: at, point: -1, cross: null }, false)}>
            <span class="swatch" style={{ background: project.colours[project.classes.indexOf(thing.class)] }} />
            <bdi class="cut">{shown(thing.class)}</bdi>
            <small>{what(thing, draft.guessed)}</small>
          </button>
          <button type="button" class="plain" aria-label={`Delete object ${at + 1}`} onClick={() => set(withoutThing(draft, at))}>
            ×
          </button>
        </li>
      ))}
    </ol>
  );
}

function what(thing: Parts["context"]["draft"]["things"][number], guessed: boolean): string {
  const parts: string[] = [];
  if (guessed && thing[BEGUN] !== undefined) parts.push("guess");
  if (typeof thing.score === "number") parts.push(thing.score.toFixed(2));
  if (thing.points) {
    const marked = thing.points.filter((one) => one[2] > 0).length;
    parts.push(`${marked} of ${thing.points.length} points`);
  } else if (thing.box) parts.push(`${Math.round(thing.box[2] - thing.box[0])} × ${Math.round(thing.box[3] - thing.box[1])}`);
  if (thing.angle) parts.push(`turned ${Math.round(thing.angle)}°`);
  if (lostOutline(thing)) parts.push("its old outline goes");
  if (thing.crowd) parts.push("crowd");
  if (thing.difficult) parts.push("difficult");
  return parts.join(", ");
}
