// Boxes: drawn, moved, resized, deleted and named, by mouse, finger or keys.
import { shown } from "../text";
import type { Box, Thing } from "../types";
import { beginThings, BEGUN, changed, type Context, type Drag, type Draft, finishThings, type Parts, type Step, withoutThing, withThing } from "./draft";
import type { Editor } from "./editor";
import { area, HANDLES, type Handle, inBox, middle, moved, place, pulled, tidy, within } from "./geometry";
import { Tag } from "../draw/tag";
import { ThingList } from "./thing_list";

/** Pixels of the screen: a handle's reach, and what counts as a click and not as a drag. */
const REACH = 9;
const STILL = 4;

export const boxes: Editor = {
  begin: beginThings,
  finish: (_project, draft, size) => {
    const label = finishThings(draft, size);
    if (draft.things.length) return { label };
    return { label, ask: "There is no box: Enter once more says that nothing of these classes is in the picture." };
  },
  name: ({ draft }, cls) => ({ draft: named(draft, cls) }),
  count: (draft, cls) => draft.things.filter((one) => one.class === cls).length,
  key,
  down,
  Layer,
  Panel: ThingList,
  keys: [
    ["1 \u2026 9, letters", "name the chosen box, and the next ones drawn"],
    ["drag", "draw a box; drag the chosen one to move it, its corners and sides to resize it"],
    ["Shift and drag", "draw inside of the chosen box"],
    ["B", "a new box in the middle, without a mouse"],
    ["[ and ]", "choose the box before, the next one"],
    ["arrows", "move the chosen box by a pixel (Shift: ten); with Alt resize it"],
    ["Delete", "delete the chosen box"],
    ["Escape", "choose none"],
    ["Enter", "send the boxes as they stand"],
  ],
};

/** The chosen box gets a class; boxes drawn from now on have it, too. */
export function named(draft: Draft, cls: string): Draft {
  const next = { ...draft, cls };
  const thing = draft.things[draft.chosen];
  return thing ? withThing(next, draft.chosen, { ...thing, class: cls }) : next;
}

export function key(context: Context, event: KeyboardEvent): Step | null {
  const { draft, size } = context;
  const thing = draft.things[draft.chosen];
  if (event.key === "[" || event.key === "]") {
    const many = draft.things.length;
    if (!many) return { draft };
    const step = event.key === "]" ? 1 : many - 1;
    return { draft: { ...draft, chosen: draft.chosen < 0 ? (step === 1 ? 0 : many - 1) : (draft.chosen + step) % many, point: -1 } };
  }
  if (event.key.toLowerCase() === "b") {
    const [w, h] = size;
    const fresh: Thing = { class: draft.cls, box: tidy([w * 0.375, h * 0.375, w * 0.625, h * 0.625], size) };
    return { draft: { ...draft, things: [...draft.things, fresh], chosen: draft.things.length } };
  }
  if (!thing) return null;
  if (event.key === "Escape") return { draft: { ...draft, chosen: -1 } };
  if (event.key === "Delete" || event.key === "Backspace") return { draft: withoutThing(draft, draft.chosen) };
  const box = nudged(context, thing, event);
  return box && { draft: withThing(draft, draft.chosen, changed(thing, { box })) };
}

const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function nudged({ size }: Context, thing: Thing, event: KeyboardEvent): Box | null {
  const way = ARROWS[event.key];
  if (!way || !thing.box) return null;
  const [dx, dy] = way.map((one) => one * (event.shiftKey ? 10 : 1));
  if (!event.altKey) return moved(thing.box, dx, dy, size);
  const [x1, y1, x2, y2] = thing.box;
  return tidy([x1, y1, Math.max(x1 + 1, x2 + dx), Math.max(y1 + 1, y2 + dy)], size);
}

function down(context: Context, x: number, y: number, event: PointerEvent): Drag {
  const { draft, px } = context;
  const thing = draft.things[draft.chosen];
  if (thing?.box && !event.shiftKey) {
    const handle = handleAt(thing, x, y, px);
    if (handle) return resize(context, thing, thing.box, handle, x, y);
    if (within(thing, x, y)) return move(context, thing, thing.box, x, y);
  }
  return draw(context, x, y);
}

function handleAt(thing: Thing, x: number, y: number, px: number): Handle | null {
  const [bx, by] = inBox(thing, x, y);
  for (const handle of HANDLES) {
    const [hx, hy] = place(thing.box as Box, handle);
    if (Math.abs(bx - hx) <= REACH * px && Math.abs(by - hy) <= REACH * px) return handle;
  }
  return null;
}

function resize(context: Context, thing: Thing, box: Box, handle: Handle, x: number, y: number): Drag {
  // the place that was grabbed is not quite the corner: the box must not jump to it
  const [hx, hy] = place(box, handle);
  const [gx, gy] = inBox(thing, x, y);
  let first = true;
  return {
    move: (mx, my) => {
      const [bx, by] = inBox(thing, mx, my);
      const news = changed(thing, { box: pulled(thing, box, handle, bx + hx - gx, by + hy - gy, context.size) });
      context.set(withThing(context.draft, context.draft.chosen, news), first);
      first = false;
    },
  };
}

function move(context: Context, thing: Thing, box: Box, x: number, y: number): Drag {
  let first = true;
  return {
    move: (mx, my) => {
      if (first && Math.hypot(mx - x, my - y) < STILL * context.px) return;
      context.set(withThing(context.draft, context.draft.chosen, changed(thing, { box: moved(box, mx - x, my - y, context.size) })), first);
      first = false;
    },
    up: (mx, my) => {
      // a click in the chosen box goes on to the one below it
      if (first) context.set({ ...context.draft, chosen: under(context.draft, mx, my, context.draft.chosen) }, false);
    },
  };
}

function draw(context: Context, x: number, y: number): Drag {
  const { draft, size, px } = context;
  const at = draft.things.length;
  let first = true;
  return {
    move: (mx, my) => {
      if (first && Math.hypot(mx - x, my - y) < STILL * px) return;
      const fresh: Thing = { class: draft.cls, box: tidy([x, y, mx, my], size) };
      context.set({ ...draft, things: [...draft.things, fresh], chosen: at }, first);
      first = false;
    },
    up: (mx, my) => {
      if (first) return context.set({ ...draft, chosen: under(draft, mx, my, -1) }, false);
      const box = tidy([x, y, mx, my], size);
      if (box[2] - box[0] < 1 || box[3] - box[1] < 1) context.set(draft, false); // a line is no box
    },
  };
}

/** The smallest box under a place, another than the one that was chosen if there is one. */
export function under(draft: Draft, x: number, y: number, but: number): number {
  const hit = draft.things.map((thing, at) => ({ thing, at })).filter(({ thing }) => within(thing, x, y));
  const others = hit.filter(({ at }) => at !== but);
  const from = others.length ? others : hit;
  return from.sort((a, b) => area(a.thing.box as Box) - area(b.thing.box as Box))[0]?.at ?? -1;
}

/** Boxes over the picture; what a model drew is dashed until somebody changes it. */
export function Layer({ context }: Parts) {
  const { draft } = context;
  return (
    <g>
      {draft.things.map((thing, at) => thing.box && at !== draft.chosen && <OneBox key={at} context={context} thing={thing} at={at} />)}
      {draft.things[draft.chosen]?.box && <OneBox context={context} thing={draft.things[draft.chosen]} at={draft.chosen} />}
    </g>
  );
}

function OneBox({ context, thing, at }: { context: Context; thing: Thing; at: number }) {
  const { project, draft, px } = context;
  const box = thing.box as Box;
  const [x1, y1, x2, y2] = box;
  const colour = project.colours[project.classes.indexOf(thing.class)] ?? "#888888";
  const chosen = draft.chosen === at;
  const [cx, cy] = middle(box);
  const guess = draft.guessed && thing[BEGUN] !== undefined;
  const words = `${shown(thing.class)}${typeof thing.score === "number" ? ` ${thing.score.toFixed(2)}` : ""}`;
  return (
    <g transform={thing.angle ? `rotate(${thing.angle} ${cx} ${cy})` : undefined}>
      <rect class="halo" x={x1} y={y1} width={x2 - x1} height={y2 - y1} />
      <rect class={`box${chosen ? " chosen" : ""}${guess ? " guess" : ""}`} x={x1} y={y1} width={x2 - x1} height={y2 - y1} stroke={colour} fill={colour} />
      <Tag x={x1} y={y1} px={px} colour={colour} text={words} />
      {chosen &&
        HANDLES.map((handle) => {
          const [x, y] = place(box, handle);
          return <rect key={handle} class="handle" x={x - 4 * px} y={y - 4 * px} width={8 * px} height={8 * px} stroke={colour} />;
        })}
    </g>
  );
}
