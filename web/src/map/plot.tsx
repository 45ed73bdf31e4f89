// The map itself: points, a camera moved by mouse and keys, a loop drawn around some of them, the point under the pointer.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Camera, Points } from "./gl";
import type { Grouping } from "./groups";
import { Grid, looped } from "./nearest";

interface Props {
  places: Float32Array;
  grouping: Grouping;
  hidden: Set<number>;
  marked: number[];
  mark: (which: number[]) => void;
  hover: (at: number, x: number, y: number) => void;
  open: (at: number) => void;
  /** Whether a drag draws a loop (Shift does always) or moves the map. */
  lasso: boolean;
}

const REACH = 12;

export function Plot(props: Props) {
  const { places, grouping, hidden, marked } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const loopPath = useRef<SVGPolygonElement>(null);
  const points = useRef<Points | null>(null);
  const camera = useRef<Camera>({ x: 0, y: 0, scale: 1 });
  const fit = useRef(1);
  const [trouble, setTrouble] = useState("");
  const grid = useMemo(() => new Grid(places), [places]);
  const seen = (at: number) => !hidden.has(grouping.of[at]);

  const frame = useRef(0);
  const draw = () => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      const ground = getComputedStyle(document.documentElement).getPropertyValue("--plot").trim();
      points.current?.draw(camera.current, camera.current.scale / fit.current, /^#[0-9a-f]{6}$/i.test(ground) ? ground : "#ffffff");
      (window as unknown as { labelwiseMapDrawn?: number }).labelwiseMapDrawn = performance.now();
    });
  };
  const whole = () => {
    camera.current = { x: 0, y: 0, scale: fit.current };
    draw();
  };

  useEffect(() => {
    const on = canvas.current as HTMLCanvasElement;
    try {
      points.current = new Points(on, places);
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
      return;
    }
    let first = true;
    const watch = new ResizeObserver(() => {
      const ratio = window.devicePixelRatio || 1;
      on.width = Math.max(1, Math.round(on.clientWidth * ratio));
      on.height = Math.max(1, Math.round(on.clientHeight * ratio));
      const before = fit.current;
      fit.current = (Math.min(on.clientWidth, on.clientHeight) / 2) * 0.96;
      camera.current.scale = first ? fit.current : (camera.current.scale * fit.current) / before;
      first = false;
      draw();
    });
    watch.observe(on);
    const lost = (event: Event) => {
      event.preventDefault();
      setTrouble("the graphics card took the map away: load this page again");
    };
    on.addEventListener("webglcontextlost", lost);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      dark.removeEventListener("change", draw);
      on.removeEventListener("webglcontextlost", lost);
      cancelAnimationFrame(frame.current);
      points.current?.end();
      points.current = null;
    };
  }, [places]);
  useEffect(() => {
    points.current?.group(grouping.of, grouping.groups, hidden);
    draw();
  }, [places, grouping, hidden]);
  useEffect(() => {
    const which = new Uint8Array(places.length / 2);
    for (const at of marked) which[at] = 1;
    points.current?.mark(which, marked.length > 0);
    draw();
  }, [places, marked]);

  /** A place on the screen as one of the map. */
  const at = (event: { clientX: number; clientY: number }): [number, number] => {
    const box = (canvas.current as HTMLCanvasElement).getBoundingClientRect();
    const { x, y, scale } = camera.current;
    return [x + (event.clientX - box.left - box.width / 2) / scale, y - (event.clientY - box.top - box.height / 2) / scale];
  };
  const zoom = (by: number, x = camera.current.x, y = camera.current.y) => {
    const old = camera.current;
    const scale = Math.min(Math.max(old.scale * by, fit.current * 0.5), fit.current * 2000);
    const share = old.scale / scale;
    camera.current = { scale, x: x - (x - old.x) * share, y: y - (y - old.y) * share };
    draw();
  };
  const under = (event: PointerEvent): number => grid.nearest(...at(event), REACH / camera.current.scale, seen);

  const press = (event: PointerEvent) => {
    const on = event.currentTarget as HTMLElement;
    if (event.button > 1) return;
    on.setPointerCapture(event.pointerId);
    const looping = props.lasso !== event.shiftKey;
    const loop: number[] = [];
    const start = { ...camera.current };
    const [sx, sy] = [event.clientX, event.clientY];
    let far = 0;
    const move = (now: PointerEvent) => {
      far = Math.max(far, Math.hypot(now.clientX - sx, now.clientY - sy));
      if (looping) {
        loop.push(...at(now));
        outline(loop);
      } else {
        camera.current = { ...start, x: start.x - (now.clientX - sx) / start.scale, y: start.y + (now.clientY - sy) / start.scale };
        draw();
      }
    };
    const end = (now: PointerEvent) => {
      on.removeEventListener("pointermove", move);
      on.removeEventListener("pointerup", end);
      on.removeEventListener("pointercancel", end);
      outline([]);
      if (now.type !== "pointerup") return;
      if (far < 4) {
        const hit = under(now);
        if (hit >= 0) props.open(hit);
        else props.mark([]);
      } else if (looping && loop.length >= 6) props.mark(looped(places, loop, seen));
    };
    on.addEventListener("pointermove", move);
    on.addEventListener("pointerup", end);
    on.addEventListener("pointercancel", end);
  };
  const outline = (loop: number[]) => {
    const box = (canvas.current as HTMLCanvasElement).getBoundingClientRect();
    const { x, y, scale } = camera.current;
    const corners: string[] = [];
    for (let k = 0; k < loop.length; k += 2) corners.push(`${(loop[k] - x) * scale + box.width / 2},${(y - loop[k + 1]) * scale + box.height / 2}`);
    loopPath.current?.setAttribute("points", corners.join(" "));
  };
  const keys = (event: KeyboardEvent) => {
    const step = 80 / camera.current.scale;
    const ways: Record<string, () => void> = {
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      "0": whole,
      ArrowLeft: () => (camera.current.x -= step),
      ArrowRight: () => (camera.current.x += step),
      ArrowUp: () => (camera.current.y += step),
      ArrowDown: () => (camera.current.y -= step),
      v: () => props.mark(inView()),
      Escape: () => props.mark([]),
    };
    const act = event.ctrlKey || event.metaKey ? undefined : ways[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    draw();
  };
  /** What lies in the part that is seen: the loop of those who use no mouse. */
  const inView = (): number[] => {
    const box = (canvas.current as HTMLCanvasElement).getBoundingClientRect();
    const [x1, y1] = at({ clientX: box.left, clientY: box.bottom });
    const [x2, y2] = at({ clientX: box.right, clientY: box.top });
    return looped(places, [x1, y1, x2, y1, x2, y2, x1, y2], seen);
  };
  const wheel = useRef((_event: WheelEvent) => undefined as void);
  wheel.current = (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  };
  useEffect(() => {
    const on = canvas.current as HTMLCanvasElement;
    const turn = (event: WheelEvent) => wheel.current(event);
    on.addEventListener("wheel", turn, { passive: false });
    return () => on.removeEventListener("wheel", turn);
  }, []);

  return (
    <div class="plot">
      <canvas
        ref={canvas}
        tabIndex={0}
        role="img"
        aria-label={`A map of ${places.length / 2} images; images that are alike lie close together. Arrows move, plus and minus zoom, V lists what is in view.`}
        onPointerDown={press}
        onPointerMove={(event) => !event.buttons && props.hover(under(event), event.offsetX, event.offsetY)}
        onPointerLeave={() => props.hover(-1, 0, 0)}
        onKeyDown={keys}
      />
      <svg aria-hidden="true">
        <polygon ref={loopPath} />
      </svg>
      {trouble && (
        <p role="alert" class="missing">
          {trouble}
        </p>
      )}
      <div class="zoom">
        <button type="button" aria-label="Zoom in" onClick={() => zoom(1.5)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => zoom(1 / 1.5)}>
          −
        </button>
        <button type="button" aria-label="Whole map" onClick={whole}>
          ⤢
        </button>
      </div>
    </div>
  );
}
