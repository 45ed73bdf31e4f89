// Superpixels of a picture, as the server cuts it: read once a picture and number of them, a few kept.
import { api } from "../api";
import type { Paint, Span } from "./paint";

export interface Cells {
  width: number;
  height: number;
  /** The superpixel of each pixel, row by row. */
  numbers: Uint16Array;
}

const KEPT = 8;
const known = new Map<string, Cells | null>();
const waiting = new Set<() => void>();

/** Those of a picture; undefined while they are on their way. None are asked for by a count of 0. */
export function cellsOf(id: string, count: number): Cells | undefined {
  const name = `${count} ${id}`;
  const there = known.get(name);
  if (there || !count) return there ?? undefined;
  if (there === undefined) {
    known.set(name, null);
    for (const old of [...known.keys()].slice(0, Math.max(0, known.size - KEPT))) known.delete(old);
    void api.superpixels(id, count).then(
      (cells) => {
        known.set(name, cells);
        for (const one of waiting) one();
      },
      () => known.delete(name),
    );
  }
  return undefined;
}

/** Calls back when superpixels have come. */
export function listen(told: () => void): () => void {
  waiting.add(told);
  return () => void waiting.delete(told);
}

/** All pixels of the superpixels that a line from one place to another touches. */
export function spansOf({ width, height, numbers }: Cells, paint: Paint, from: [number, number], to: [number, number]): Span[] {
  const [sx, sy] = [width / paint.width, height / paint.height];
  const steps = Math.max(1, Math.ceil(Math.hypot((to[0] - from[0]) * sx, (to[1] - from[1]) * sy)));
  const touched = new Set<number>();
  for (let step = 0; step <= steps; step++) {
    const [x, y] = [0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * step) / steps);
    const [column, row] = [Math.floor(x * sx), Math.floor(y * sy)];
    if (column >= 0 && row >= 0 && column < width && row < height) touched.add(numbers[row * width + column]);
  }
  const spans: Span[] = [];
  const columns = Int32Array.from({ length: paint.width }, (_one, x) => Math.min(width - 1, Math.floor((x + 0.5) * sx)));
  for (let y = 0; y < paint.height && touched.size; y++) {
    const row = Math.min(height - 1, Math.floor((y + 0.5) * sy)) * width;
    for (let x = 0; x < paint.width; x++) {
      if (!touched.has(numbers[row + columns[x]])) continue;
      const first = x;
      while (x < paint.width && touched.has(numbers[row + columns[x]])) x++;
      spans.push([y, first, x]);
    }
  }
  return spans;
}
