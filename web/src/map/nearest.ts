// Which point is under the pointer, and which lie in a loop: on the places themselves, so that what is found is what is drawn.

/** A grid over [-1, 1]^2 with the points of each cell one after the other; built once, some 50 ms for a million. */
export class Grid {
  private readonly starts: Uint32Array;
  private readonly order: Uint32Array;
  private readonly side: number;

  constructor(private readonly places: Float32Array) {
    const count = places.length / 2;
    this.side = Math.min(1024, Math.max(1, Math.ceil(Math.sqrt(count / 4))));
    const cells = new Uint32Array(count);
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (let at = 0; at < count; at++) {
      cells[at] = this.cell(places[2 * at]) + this.side * this.cell(places[2 * at + 1]);
      this.starts[cells[at] + 1]++;
    }
    for (let cell = 0; cell < this.side * this.side; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Uint32Array(count);
    for (let at = 0; at < count; at++) this.order[next[cells[at]]++] = at;
  }

  private cell(value: number): number {
    const at = Math.floor(((value + 1) / 2) * this.side);
    return at < 0 ? 0 : at >= this.side ? this.side - 1 : at;
  }

  /** The point nearest to a place within `reach`, of those that `seen` lets through; -1 where there is none. */
  nearest(x: number, y: number, reach: number, seen: (at: number) => boolean): number {
    let [best, least] = [-1, reach * reach];
    const [c1, c2] = [this.cell(x - reach), this.cell(x + reach)];
    for (let row = this.cell(y - reach); row <= this.cell(y + reach); row++) {
      for (let column = c1; column <= c2; column++) {
        const cell = row * this.side + column;
        for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) {
          const at = this.order[k];
          const [dx, dy] = [this.places[2 * at] - x, this.places[2 * at + 1] - y];
          const far = dx * dx + dy * dy;
          if (far <= least && seen(at)) [best, least] = [at, far];
        }
      }
    }
    return best;
  }
}

/** Whether a place lies in a closed loop of corners x0, y0, x1, y1, ... (even-odd rule). */
export function inLoop(loop: number[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = loop.length - 2; i < loop.length; j = i, i += 2) {
    const [yi, yj] = [loop[i + 1], loop[j + 1]];
    if (yi > y !== yj > y && x < ((loop[j] - loop[i]) * (y - yi)) / (yj - yi) + loop[i]) inside = !inside;
  }
  return inside;
}

/** The points in a loop, in their order. */
export function looped(places: Float32Array, loop: number[], seen: (at: number) => boolean): number[] {
  const xs = loop.filter((_one, at) => at % 2 === 0);
  const ys = loop.filter((_one, at) => at % 2 === 1);
  const [x1, x2, y1, y2] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found: number[] = [];
  for (let at = 0; at < places.length / 2; at++) {
    const [x, y] = [places[2 * at], places[2 * at + 1]];
    if (x >= x1 && x <= x2 && y >= y1 && y <= y2 && seen(at) && inLoop(loop, x, y)) found.push(at);
  }
  return found;
}
