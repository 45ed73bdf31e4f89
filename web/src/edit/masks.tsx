// Masks: classes painted by a round brush or by superpixels, with the mouse, a finger or the keys.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { Store, useStore } from "../store";
import { percent, shown } from "../text";
import type { Project, Raw } from "../types";
import { clamp, EMPTY, type Context, type Drag, type Draft, type Overlaid, type Parts, type Step } from "./draft";
import type { Editor } from "./editor";
import { enclosed, NONE, OUTSIDE, Paint, SIDE, type Span, stroke } from "./paint";
import { pngText } from "./png";
import { type Cells, cellsOf, listen, spansOf } from "./superpixels";

interface Tool {
  /** Radius of the brush in pixels of the screen: closer looks paint finer. */
  radius: number;
  /** Whether whole superpixels are painted. */
  regions: boolean;
  /** Whether a line is drawn around what is painted. */
  outline: boolean;
  /** How many superpixels a picture is cut into. */
  count: number;
  erase: boolean;
  /** 0 to 1. */
  opacity: number;
}

/** It outlives the picture: the next one is painted with the same brush. */
const tool = new Store<Tool>({ radius: 12, regions: false, outline: false, count: 300, erase: false, opacity: 0.5 });
const use = (news: Partial<Tool>): void => tool.set({ ...tool.value, ...news });

/** The line that is being drawn around something. */
const line = new Store<[number, number][]>([]);

const RADII = [1, 200] as const;
const COUNTS = [50, 2400] as const;

export const masks: Editor = {
  begin: (project, start, guessed) => ({ ...EMPTY, cls: project.classes[0] ?? "", rest: { start }, guessed }),
  finish,
  words,
  name: ({ draft }, cls) => {
    use({ erase: false });
    return { draft: { ...draft, cls } };
  },
  count: () => 0,
  key,
  down,
  Layer: Cursor,
  Overlay,
  Panel,
  keys: [
    ["1 \u2026 9, letters", "the class that is painted next"],
    ["drag", "paint"],
    ["B", "round brush, or whole superpixels"],
    ["L", "a line around an area: what it encloses is painted"],
    ["[ and ]", "smaller and larger brush, or superpixels"],
    ["N", "erase: painted pixels have no class"],
    ["H", "all pixels without a class get the chosen one"],
    ["F", "all pixels get the chosen class: of a region, all of it"],
    ["space", "paint at the cross, which the arrows move (Shift: far); Escape takes it away"],
    ["Enter", "send the mask as it stands"],
  ],
};

function finish(_project: Project, draft: Draft, size: [number, number]): { label: Raw; ask?: string } | { wait: string } {
  const { paint, rest } = draft;
  const start = rest.start as Raw | null;
  if (!paint) return start ? { label: start } : { wait: "The picture is still being read." };
  if (paint === rest.begun && start) return { label: start };
  const counts = paint.counts();
  const bare = counts[NONE];
  const all = paint.width * paint.height - counts[OUTSIDE];
  if (bare === all) return { wait: "Nothing is painted yet: choose a class by its key and drag over the picture." };
  const label = { size, png: pngText(paint.width, paint.height, paint.rows()) } as unknown as Raw;
  if (!bare) return { label };
  return { label, ask: `${percent(bare / all)} of the pixels have no class: Enter once more sends the mask so, H gives all of them the class ${shown(draft.cls)}.` };
}

function words(project: Project, { paint }: Draft): string {
  if (!paint) return "the mask";
  const counts = paint.counts();
  const there = project.classes.filter((_cls, at) => counts[at]).length;
  return there ? `the mask (${there} of ${project.classes.length} classes)` : "";
}

const valueOf = ({ project, draft }: Context): number => (tool.value.erase ? NONE : project.classes.indexOf(draft.cls));

const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function key(context: Context, event: KeyboardEvent): Step | null {
  const { draft, size, px } = context;
  const { radius, regions, outline, count, erase } = tool.value;
  const letter = event.key.toLowerCase();
  if (letter === "[" || letter === "]") {
    const by = letter === "]" ? 1.25 : 0.8;
    if (regions) use({ count: Math.round(clamp(count / by ** 3, ...COUNTS)) });
    else use({ radius: clamp(radius * by, ...RADII) });
    return { draft };
  }
  if (letter === "b") use({ regions: !regions, outline: false, erase: false });
  if (letter === "l") use({ outline: !outline, regions: false });
  if (letter === "n") use({ erase: !erase });
  if (letter === "b" || letter === "l" || letter === "n") return { draft };
  if (letter === "h" || letter === "f") return { draft: filled(context, letter === "h") };
  if (event.key === " ") {
    if (!draft.cross) return { draft: { ...draft, cross: [size[0] / 2, size[1] / 2] } };
    const [x, y] = draft.cross;
    return { draft: { ...draft, paint: painted(context, draft.paint, [x, y], [x, y]) } };
  }
  const way = ARROWS[event.key];
  if (draft.cross && way) {
    const by = event.shiftKey ? 0.05 * Math.max(...size) : Math.max(1, radius * px * 0.5);
    return { draft: { ...draft, cross: [clamp(draft.cross[0] + way[0] * by, 0, size[0]), clamp(draft.cross[1] + way[1] * by, 0, size[1])] } };
  }
  return draft.cross && event.key === "Escape" ? { draft: { ...draft, cross: null } } : null;
}

/** With the chosen class for all pixels without one, or for all there are. */
function filled({ draft, project }: Context, onlyBare: boolean): Draft {
  return draft.paint ? { ...draft, paint: draft.paint.whole(project.classes.indexOf(draft.cls), onlyBare) } : draft;
}

/** What is painted from one place to another. */
function painted(context: Context, paint: Paint | null, from: [number, number], to: [number, number]): Paint | null {
  if (!paint) return null;
  const cells = tool.value.regions ? cellsOf(context.id, tool.value.count) : undefined;
  if (tool.value.regions && !cells) return paint; // they are still on their way, which the panel says
  const spans: Span[] = cells ? spansOf(cells, paint, from, to) : stroke(from, to, tool.value.radius * context.px);
  return paint.filled(spans, valueOf(context));
}

function down(context: Context, x: number, y: number): Drag | null {
  let { paint } = context.draft;
  if (!paint) return null;
  if (tool.value.outline) return drawn(context, x, y);
  let last: [number, number] = [x, y];
  const go = (to: [number, number], step: boolean) => {
    paint = painted(context, paint, last, to);
    last = to;
    context.set({ ...context.draft, paint, cross: null }, step);
  };
  go(last, true);
  return { move: (to, at) => go([to, at], false) };
}

/** A line around something, which is painted when the mouse is let go. */
function drawn(context: Context, x: number, y: number): Drag {
  line.set([[x, y]]);
  return {
    move: (to, at) => line.set([...line.value, [to, at]]),
    up: () => {
      const { paint } = context.draft;
      const around = line.value;
      line.set([]);
      if (paint && around.length > 2) context.set({ ...context.draft, paint: paint.filled(enclosed(around), valueOf(context)), cross: null });
    },
  };
}

// ---- what is seen ----------------------------------------------------------------------------------------------------

/** More pixels than this on a side are not drawn: every other one, or every third, stands for its neighbours. */
const DRAWN = 2560;

/** The paint over the picture: tiles that changed since the last time are drawn anew. */
function Overlay({ context, place }: Overlaid) {
  const { draft, project } = context;
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<Paint | null>(null);
  const { opacity, regions, count } = useStore(tool);
  useBeginning(context);
  const paint = draft.paint;
  useEffect(() => {
    const on = canvas.current;
    if (!on || !paint) return;
    draw(on, paint, drawn.current, project.colours);
    drawn.current = paint;
  }, [paint]);
  const style = { left: `${place.left}px`, top: `${place.top}px`, width: `${place.width}px`, height: `${place.height}px` };
  return (
    <>
      <canvas ref={canvas} class="paint" style={{ ...style, opacity }} />
      {regions && <Borders id={context.id} count={count} style={style} />}
    </>
  );
}

/** Reads what the draft begins as, once it is shown. */
function useBeginning(context: Context): void {
  const { draft, id, size } = context;
  useEffect(() => {
    if (draft.paint) return;
    let here = true;
    const begin = (paint: Paint) => here && context.set({ ...draft, paint, rest: { ...draft.rest, begun: paint } }, false);
    const read = async (): Promise<Paint> => {
      const { width, height, rows } = await api.mask(id, draft.guessed ? "guess" : "label");
      return Paint.of(width, height, rows);
    };
    const start = draft.rest.start ? read().catch(() => Paint.blank(...size)) : Promise.resolve(Paint.blank(...size));
    // without its region nobody knows what is asked: nothing can be painted then, and the picture can be skipped
    void (context.part ? Promise.all([start, api.region(id)]).then(([paint, inside]) => paint.within(inside)) : start).then(begin, () => undefined);
    return () => {
      here = false;
    };
  }, [id, draft.paint === null]);
}

function draw(canvas: HTMLCanvasElement, paint: Paint, before: Paint | null, colours: string[]): void {
  const every = Math.max(1, Math.ceil(Math.max(paint.width, paint.height) / DRAWN));
  const [width, height] = [Math.ceil(paint.width / every), Math.ceil(paint.height / every)];
  const same = before && before.width === paint.width && before.height === paint.height && canvas.width === width && canvas.height === height;
  if (!same) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  const table = new Uint32Array(256);
  table[OUTSIDE] = 0xff000000;
  new Uint8Array(table.buffer).set(colours.flatMap((one) => [...[1, 3, 5].map((at) => parseInt(one.slice(at, at + 2), 16)), 255]));
  paint.tiles.forEach((tile, at) => {
    if (!pen || (same && before.tiles[at] === tile)) return;
    const [left, top] = paint.corner(at);
    const [x, y] = [Math.ceil(left / every), Math.ceil(top / every)];
    const [w, h] = [Math.ceil(Math.min(left + SIDE, paint.width) / every) - x, Math.ceil(Math.min(top + SIDE, paint.height) / every) - y];
    if (w < 1 || h < 1) return;
    const pixels = new Uint32Array(w * h);
    for (let row = 0; row < h; row++) {
      const from = ((y + row) * every - top) * SIDE - left;
      for (let column = 0; column < w; column++) pixels[row * w + column] = table[tile[from + (x + column) * every]];
    }
    pen.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), w, h), x, y);
  });
}

/** Where superpixels meet. */
function Borders({ id, count, style }: { id: string; count: number; style: Record<string, string> }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const cells = useCells(id, count);
  useEffect(() => {
    const on = canvas.current;
    if (!on || !cells) return;
    const { width, height, numbers } = cells;
    Object.assign(on, { width, height });
    const pixels = new Uint32Array(width * height);
    for (let at = 0; at < numbers.length; at++) {
      const right = (at + 1) % width && numbers[at] !== numbers[at + 1];
      if (right || (at + width < numbers.length && numbers[at] !== numbers[at + width])) pixels[at] = 0xb0ffffff;
    }
    on.getContext("2d")?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  }, [cells]);
  return <canvas ref={canvas} class="paint" style={style} />;
}

/** The superpixels of a picture once they are there. */
function useCells(id: string, count: number): Cells | undefined {
  const [, redraw] = useState(0);
  useEffect(() => listen(() => redraw((n) => n + 1)), []);
  return cellsOf(id, count);
}

/** The brush where it would paint, and the cross of those who paint by keys. */
function Cursor({ context }: Parts) {
  const { draft, px } = context;
  const { radius, regions, outline } = useStore(tool);
  const around = useStore(line);
  const ring = useRef<SVGCircleElement>(null);
  useEffect(() => {
    const svg = ring.current?.ownerSVGElement;
    if (!svg) return;
    const follow = (event: PointerEvent) => {
      const matrix = svg.getScreenCTM();
      if (!matrix || !ring.current) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      ring.current.setAttribute("cx", String(at.x));
      ring.current.setAttribute("cy", String(at.y));
    };
    svg.addEventListener("pointermove", follow);
    return () => svg.removeEventListener("pointermove", follow);
  }, []);
  const [x, y] = draft.cross ?? [0, 0];
  return (
    <>
      <circle ref={ring} class="ring" cx={-1e6} cy={0} r={regions || outline ? 0 : radius * px} />
      {around.length > 1 && <polygon class="ring" style={{ strokeWidth: 1.5 * px }} points={around.map((one) => one.join(",")).join(" ")} />}
      {draft.cross && (
        <g class="cross">
          <circle cx={x} cy={y} r={regions ? 3 * px : radius * px} />
          <line x1={x - 14 * px} x2={x + 14 * px} y1={y} y2={y} />
          <line x1={x} x2={x} y1={y - 14 * px} y2={y + 14 * px} />
        </g>
      )}
    </>
  );
}

function Panel({ context }: Parts) {
  const { draft, project, id } = context;
  const { radius, regions, outline, count, erase, opacity } = useStore(tool);
  const cells = useCells(id, regions ? count : 0);
  const counts = draft.paint?.counts();
  const all = draft.paint && counts ? draft.paint.width * draft.paint.height - counts[OUTSIDE] : 1;
  const there = project.classes.flatMap((cls, at) => (counts?.[at] ? [[cls, counts[at] / all] as const] : []));
  const how = outline ? "a line around an area" : regions ? (cells ? `superpixels, about ${count}` : "superpixels: they are being made \u2026") : `a round brush, ${Math.round(2 * radius)} pixels wide on the screen`;
  return (
    <section class="painting" aria-label="Painting">
      <p class="hint" role="status">
        {context.part && "Only the bright part is asked about. "}
        {draft.paint ? `Paints ${erase ? "no class (erases)" : shown(draft.cls)} by ${how}.` : "Reading the mask \u2026"}
      </p>
      <div class="buttons">
        <button type="button" aria-pressed={regions} onClick={() => use({ regions: !regions, outline: false, erase: false })}>
          Superpixels <kbd>B</kbd>
        </button>
        <button type="button" aria-pressed={outline} onClick={() => use({ outline: !outline, regions: false })}>
          Outline <kbd>L</kbd>
        </button>
        <button type="button" aria-pressed={erase} onClick={() => use({ erase: !erase })}>
          Erase <kbd>N</kbd>
        </button>
        <button type="button" title={`All pixels without a class become ${shown(draft.cls)}`} onClick={() => context.set(filled(context, true))}>
          Fill the rest <kbd>H</kbd>
        </button>
        <button type="button" title={`All pixels become ${shown(draft.cls)}`} onClick={() => context.set(filled(context, false))}>
          Fill all <kbd>F</kbd>
        </button>
      </div>
      <label class="hint">
        Paint over picture{" "}
        <input type="range" min="0" max="100" value={100 * opacity} onInput={(event) => use({ opacity: event.currentTarget.valueAsNumber / 100 })} />
      </label>
      <ul class="things" aria-label="Share of each class">
        {there.map(([cls, share]) => (
          <li key={cls}>
            <span class="swatch" style={{ background: project.colours[project.classes.indexOf(cls)] }} />
            <bdi class="cut">{shown(cls)}</bdi>
            <small>{percent(share)}</small>
          </li>
        ))}
        {counts && counts[NONE] > 0 && (
          <li>
            <span class="cut">no class</span>
            <small>{percent(counts[NONE] / all)}</small>
          </li>
        )}
      </ul>
    </section>
  );
}
