// A picture that can be zoomed and moved, with whatever is drawn over it in the same pixels. One SVG for both: nothing can slip.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Drag, Place } from "../edit/draft";
import type { Size } from "../types";

interface View {
  x: number;
  y: number;
  /** How many times larger than to fit. */
  zoom: number;
}

const WHOLE: View = { x: 0, y: 0, zoom: 1 };
const MOST = 40;

interface Props {
  /** What the picture is; a new one is shown whole. */
  id: string;
  url: string;
  /** The same picture with more pixels, loaded once somebody looks closer. */
  sharper?: string;
  size: Size;
  alt: string;
  down?: (x: number, y: number, px: number, event: PointerEvent) => Drag | null;
  /** Gets the pixels of the picture in one of the screen. */
  layer?: (px: number) => ComponentChildren;
  /** Gets where the picture lies. */
  overlay?: (place: Place) => ComponentChildren;
}

export function Stage({ id, url, sharper, size, alt, down, layer, overlay }: Props) {
  const svg = useRef<SVGSVGElement>(null);
  const [view, setView] = useState<View>(WHOLE);
  const [room, setRoom] = useState<Size>([800, 600]);
  const [failed, setFailed] = useState(false);
  useLayoutEffect(() => {
    setView(WHOLE);
    setFailed(false);
  }, [id]);
  useLayoutEffect(() => {
    const on = svg.current as SVGSVGElement;
    const watch = new ResizeObserver(() => setRoom([Math.max(on.clientWidth, 1), Math.max(on.clientHeight, 1)]));
    watch.observe(on);
    return () => watch.disconnect();
  }, []);
  const [width, height] = size;
  const px = Math.max(width / room[0], height / room[1]) / view.zoom;
  const shape = frame(view, size, room, px);

  const zoomAt = (by: number, at?: [number, number]) =>
    setView((old) => {
      const zoom = Math.min(Math.max(old.zoom * by, 1), MOST);
      const [cx, cy] = at ?? [old.x + width / 2, old.y + height / 2];
      const share = old.zoom / zoom;
      // the place under the pointer stays under the pointer
      const x = cx - width / 2 - (cx - width / 2 - old.x) * share;
      const y = cy - height / 2 - (cy - height / 2 - old.y) * share;
      return bounded({ x, y, zoom }, size);
    });
  useZoomKeys(zoomAt, () => setView(WHOLE));
  useWheel(svg, zoomAt);

  const press = (event: PointerEvent) => {
    const on = svg.current as SVGSVGElement;
    const pan = event.button === 1 || event.button === 2 || (!down && event.button === 0);
    if (!pan && event.button !== 0) return;
    const [x, y] = placeOf(on, event);
    const drag = pan ? panning(event, px, view, size, setView) : down?.(x, y, px, event);
    if (!drag) return;
    event.preventDefault();
    (document.activeElement as HTMLElement | null)?.blur?.(); // keys go to the picture from now on
    follow(on, event, drag);
  };

  return (
    <div class="stage">
      <svg
        ref={svg}
        role="img"
        aria-label={alt}
        viewBox={shape.join(" ")}
        class={down ? "drawing" : ""}
        onPointerDown={press}
        onContextMenu={(event) => event.preventDefault()}
      >
        <image key={url} href={view.zoom > 1.5 && sharper ? sharper : url} width={width} height={height} preserveAspectRatio="none" onError={() => setFailed(true)} />
        {layer?.(px)}
      </svg>
      {overlay?.({ left: -shape[0] / px, top: -shape[1] / px, width: width / px, height: height / px })}
      {failed && <p class="missing">This picture cannot be shown: its file is gone or cannot be read.</p>}
      <div class="zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoomAt(1.5)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" title="Zoom out (-)" onClick={() => zoomAt(1 / 1.5)}>
          −
        </button>
        <button type="button" aria-label="Whole picture" title="Whole picture (0)" onClick={() => setView(WHOLE)}>
          ⤢
        </button>
      </div>
    </div>
  );
}

/** The part of the picture that is seen, with room around it where the shapes differ. */
function frame(view: View, [width, height]: Size, [w, h]: Size, px: number): number[] {
  const [sw, sh] = [w * px, h * px];
  return [width / 2 + view.x - sw / 2, height / 2 + view.y - sh / 2, sw, sh];
}

function bounded(view: View, [width, height]: Size): View {
  if (view.zoom <= 1) return WHOLE;
  const [mx, my] = [(width / 2) * (1 - 1 / view.zoom), (height / 2) * (1 - 1 / view.zoom)];
  return { zoom: view.zoom, x: Math.min(Math.max(view.x, -mx), mx), y: Math.min(Math.max(view.y, -my), my) };
}

/** A place on the screen in pixels of the picture. */
function placeOf(svg: SVGSVGElement, event: { clientX: number; clientY: number }): [number, number] {
  const matrix = svg.getScreenCTM();
  if (!matrix) return [0, 0];
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
  return [at.x, at.y];
}

function panning(event: PointerEvent, px: number, view: View, size: Size, set: (view: View) => void): Drag {
  const [x, y] = [event.clientX, event.clientY];
  return { move: (_x, _y, at) => set(bounded({ ...view, x: view.x - (at.clientX - x) * px, y: view.y - (at.clientY - y) * px }, size)) };
}

function follow(svg: SVGSVGElement, event: PointerEvent, drag: Drag): void {
  svg.setPointerCapture(event.pointerId);
  const move = (at: PointerEvent) => at.pointerId === event.pointerId && drag.move(...placeOf(svg, at), at);
  const end = (at: PointerEvent) => {
    if (at.pointerId !== event.pointerId) return;
    svg.removeEventListener("pointermove", move);
    svg.removeEventListener("pointerup", end);
    svg.removeEventListener("pointercancel", end);
    if (at.type === "pointerup") drag.up?.(...placeOf(svg, at), at);
  };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
}

function useZoomKeys(zoom: (by: number) => void, whole: () => void): void {
  const now = useRef({ zoom, whole });
  now.current = { zoom, whole };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || (event.target as HTMLElement).matches?.("input, textarea, select")) return;
      if (event.key === "+" || event.key === "=") now.current.zoom(1.5);
      else if (event.key === "-") now.current.zoom(1 / 1.5);
      else if (event.key === "0") now.current.whole();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

function useWheel(svg: { current: SVGSVGElement | null }, zoom: (by: number, at: [number, number]) => void): void {
  const now = useRef(zoom);
  now.current = zoom;
  useEffect(() => {
    const on = svg.current as SVGSVGElement;
    const turn = (event: WheelEvent) => {
      event.preventDefault(); // the page behind must not scroll: this listener may not be a passive one
      now.current(Math.exp(-event.deltaY / 400), placeOf(on, event));
    };
    on.addEventListener("wheel", turn, { passive: false });
    return () => on.removeEventListener("wheel", turn);
  }, []);
}
