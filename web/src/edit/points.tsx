// Key points: clicked in their order; one that is not there is passed by, one that is hidden is marked; all can be moved.
import { shown } from "../text";
import type { Point, Thing } from "../types";
import { Tag } from "../draw/tag";
import { beginThings, changed, clamp, type Context, type Drag, type Draft, finishThings, type Parts, round, type Step, withoutThing, withThing } from "./draft";
import type { Editor } from "./editor";
import { ThingList } from "./thing_list";

/** Pixels of the screen within which a click takes a point that is there, and does not set another. */
const REACH = 10;

export const points: Editor = {
  begin: beginThings,
  finish: (project, draft, size) => {
    const label = finishThings(draft, size);
    if (!draft.things.length) return { label, ask: "Nothing is marked: Enter once more says that nothing of these classes is in the picture." };
    const at = draft.things.findIndex((one) => open(one));
    if (at < 0) return { label };
    const left = draft.things[at].points?.filter((one) => !one[2]).length ?? 0;
    const untouched = draft.chosen === at && draft.point >= 0;
    return untouched ? { label, ask: `Object ${at + 1} has ${left} of ${project.points?.length ?? 0} points not marked: Enter once more leaves them out.` } : { label };
  },
  name: ({ draft }, cls) => {
    const thing = draft.things[draft.chosen];
    const next = { ...draft, cls };
    return { draft: thing ? withThing(next, draft.chosen, { ...thing, class: cls }) : next };
  },
  count: (draft, cls) => draft.things.filter((one) => one.class === cls).length,
  key,
  down,
  Layer,
  Panel,
  keys: [
    ["click", "set the next point; on a point: take it and move it"],
    ["N", "this point is not there: on to the next"],
    ["H", "the point is hidden (set it first), or seen again"],
    ["B", "begin another object; arrows move the cross (Shift: far), space sets the point"],
    ["[ and ]", "choose the object before, the next one"],
    ["Delete", "take the chosen point away, or the object"],
    ["Escape", "choose none"],
    ["Enter", "send the points as they stand"],
  ],
};

const open = (thing: Thing): boolean => Boolean(thing.points?.some((one) => !one[2]));

/** The place of the first point that is not marked, from another one on; -1 where all are. */
function nextOpen(thing: Thing, from: number): number {
  const all = thing.points ?? [];
  for (let at = from; at < all.length; at++) if (!all[at][2]) return at;
  return -1;
}

function fresh(context: Context): Thing {
  const count = context.project.points?.length ?? context.draft.things[0]?.points?.length ?? 1;
  return { class: context.draft.cls, points: Array.from({ length: count }, (): Point => [0, 0, 0]) };
}

function setPoint(thing: Thing, at: number, point: Point): Thing {
  return changed(thing, { points: (thing.points ?? []).map((one, place) => (place === at ? point : one)) });
}

/** The draft after the next point was set at a place: of the chosen object, or of a new one. */
function placed(context: Context, x: number, y: number): Draft {
  const [width, height] = context.size;
  const point: Point = [round(clamp(x, 0, width)), round(clamp(y, 0, height)), 2];
  const { draft } = context;
  const chosen = draft.things[draft.chosen];
  if (chosen && draft.point >= 0) {
    const thing = setPoint(chosen, draft.point, point);
    return { ...withThing(draft, draft.chosen, thing), point: nextOpen(thing, draft.point + 1) };
  }
  const thing = setPoint(fresh(context), 0, point);
  return { ...draft, things: [...draft.things, thing], chosen: draft.things.length, point: nextOpen(thing, 1) };
}

const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function key(context: Context, event: KeyboardEvent): Step | null {
  const { draft, size } = context;
  const thing = draft.things[draft.chosen];
  const letter = event.key.toLowerCase();
  if (letter === "[" || letter === "]") {
    const many = draft.things.length;
    if (!many) return { draft };
    const step = letter === "]" ? 1 : many - 1;
    const at = draft.chosen < 0 ? 0 : (draft.chosen + step) % many;
    return { draft: { ...draft, chosen: at, point: nextOpen(draft.things[at], 0), cross: null } };
  }
  if (letter === "b") return { draft: { ...draft, chosen: -1, point: -1, cross: [size[0] / 2, size[1] / 2] } };
  if (draft.cross) {
    const way = ARROWS[event.key];
    if (way) {
      const by = (event.shiftKey ? 0.05 : 0.005) * Math.max(...size);
      return { draft: { ...draft, cross: [clamp(draft.cross[0] + way[0] * by, 0, size[0]), clamp(draft.cross[1] + way[1] * by, 0, size[1])] } };
    }
    if (event.key === " ") return { draft: placed(context, ...draft.cross) };
  }
  if (event.key === "Escape") return thing || draft.cross ? { draft: { ...draft, chosen: -1, point: -1, cross: null } } : null;
  if (!thing) return null;
  if (letter === "n" && draft.point >= 0) {
    const next = setPoint(thing, draft.point, [0, 0, 0]);
    return { draft: { ...withThing(draft, draft.chosen, next), point: nextOpen(next, draft.point + 1) } };
  }
  if (letter === "h") return hidden(draft, thing);
  if (event.key === "Delete" || event.key === "Backspace") {
    const point = thing.points?.[draft.point];
    if (point?.[2]) return { draft: withThing(draft, draft.chosen, setPoint(thing, draft.point, [0, 0, 0])) };
    return { draft: withoutThing(draft, draft.chosen) };
  }
  return null;
}

/** The chosen point, or else the one set last, is hidden or seen again. */
function hidden(draft: Draft, thing: Thing): Step {
  const all = thing.points ?? [];
  let at = draft.point;
  if (at < 0 || !all[at][2]) {
    at = (at < 0 ? all.length : at) - 1;
    while (at >= 0 && !all[at][2]) at--;
  }
  if (at < 0) return { draft };
  const [x, y, seen] = all[at];
  return { draft: withThing(draft, draft.chosen, setPoint(thing, at, [x, y, seen === 1 ? 2 : 1])) };
}

function down(context: Context, x: number, y: number): Drag {
  const { draft, px, size } = context;
  const hit = nearest(draft, x, y, REACH * px);
  if (!hit) {
    return { move: () => undefined, up: (ux, uy) => context.set(placed(context, ux, uy)) };
  }
  const thing = draft.things[hit.thing];
  const seen = (thing.points as Point[])[hit.point][2];
  // points that were passed by stay so: only an object that is being made goes on
  const point = hit.thing === draft.chosen ? draft.point : -1;
  let first = true;
  return {
    move: (mx, my) => {
      if (first && Math.hypot(mx - x, my - y) < 3 * px) return;
      const place: Point = [round(clamp(mx, 0, size[0])), round(clamp(my, 0, size[1])), seen];
      context.set({ ...withThing(draft, hit.thing, setPoint(thing, hit.point, place)), chosen: hit.thing, point }, first);
      first = false;
    },
    up: () => {
      if (first) context.set({ ...draft, chosen: hit.thing, point: hit.point, cross: null }, false);
    },
  };
}

function nearest(draft: Draft, x: number, y: number, reach: number): { thing: number; point: number } | null {
  let best: { thing: number; point: number } | null = null;
  let least = reach;
  draft.things.forEach((one, thing) =>
    one.points?.forEach(([px, py, seen], point) => {
      const far = Math.hypot(px - x, py - y);
      if (!seen || far > least) return;
      [best, least] = [{ thing, point }, far];
    }),
  );
  return best;
}

function Layer({ context }: Parts) {
  const { draft, px } = context;
  return (
    <g>
      {draft.things.map((thing, at) => (
        <OneBody key={at} context={context} thing={thing} at={at} />
      ))}
      {draft.cross && (
        <path class="cross" d={`M${draft.cross[0] - 12 * px} ${draft.cross[1]}h${24 * px}M${draft.cross[0]} ${draft.cross[1] - 12 * px}v${24 * px}`} />
      )}
    </g>
  );
}

function OneBody({ context, thing, at }: { context: Context; thing: Thing; at: number }) {
  const { project, draft, px } = context;
  const colour = project.colours[project.classes.indexOf(thing.class)] ?? "#888888";
  const chosen = at === draft.chosen;
  const all = thing.points ?? [];
  const limbs = (project.limbs ?? []).filter(([i, j]) => all[i]?.[2] && all[j]?.[2]);
  const top = all.filter((one) => one[2]).sort((a, b) => a[1] - b[1])[0];
  return (
    <g>
      {thing.box && <rect class="box guess" x={thing.box[0]} y={thing.box[1]} width={thing.box[2] - thing.box[0]} height={thing.box[3] - thing.box[1]} stroke={colour} fill="none" />}
      {limbs.map(([i, j]) => (
        <line key={`${i}-${j}`} class="limb" x1={all[i][0]} y1={all[i][1]} x2={all[j][0]} y2={all[j][1]} stroke={colour} />
      ))}
      {all.map(([x, y, seen], place) =>
        seen ? (
          <g key={place}>
            <circle class={`dot${seen === 1 ? " hidden" : ""}${chosen && place === draft.point ? " chosen" : ""}`} cx={x} cy={y} r={(chosen ? 6 : 4.5) * px} stroke={colour} fill={seen === 1 ? "#fff" : colour} />
            {chosen && (
              <text class="count" x={x + 8 * px} y={y + 4 * px} font-size={12 * px}>
                {place + 1}
              </text>
            )}
          </g>
        ) : null,
      )}
      {top && <Tag x={top[0] + 8 * px} y={top[1] - 8 * px} px={px} colour={colour} text={shown(thing.class)} />}
    </g>
  );
}

const MARKS = ["\u2013 not there", "\u25d0 hidden", "\u25cf seen"];

function Panel({ context }: Parts) {
  const { draft, project, set } = context;
  const thing = draft.things[draft.chosen];
  const names = project.points ?? [];
  const next = thing ? draft.point : 0;
  return (
    <>
      <p class="hint" aria-live="polite">
        {next >= 0 && names[next] !== undefined ? (
          <>
            Next: <b>{next + 1}</b> <bdi>{shown(names[next])}</bdi>
            {thing ? "" : ", of a new object"}
          </>
        ) : (
          "All points are marked; a click begins another object."
        )}
      </p>
      {thing && (
        <ol class="things" aria-label="Points of the chosen object">
          {(thing.points ?? []).map((point, at) => (
            <li key={at} class={at === draft.point ? "chosen" : ""}>
              <button type="button" class="plain" aria-pressed={at === draft.point} onClick={() => set({ ...draft, point: at }, false)}>
                <span class="nr">{at + 1}</span>
                <bdi class="cut">{shown(names[at] ?? "")}</bdi>
                <small>{MARKS[point[2]] ?? ""}</small>
              </button>
            </li>
          ))}
        </ol>
      )}
      <ThingList context={context} />
    </>
  );
}
