// The class of each pixel, in square tiles that are never changed: a stroke makes new ones of those it touches, and all
// others are shared by every step that can be taken back.
export const SIDE = 64;
/** A pixel without a class. */
export const NONE = 255;
/** A pixel that is not asked about: it stays so, and is sent as one without a class. */
export const OUTSIDE = 254;

/** Pixels of one row, from a column up to another one. */
export type Span = [y: number, from: number, to: number];

export class Paint {
  readonly across: number;

  constructor(
    readonly width: number,
    readonly height: number,
    readonly tiles: readonly Uint8Array[],
  ) {
    this.across = Math.ceil(width / SIDE);
  }

  static blank(width: number, height: number): Paint {
    const none = new Uint8Array(SIDE * SIDE).fill(NONE);
    return new Paint(width, height, Array.from({ length: Math.ceil(width / SIDE) * Math.ceil(height / SIDE) }, () => none));
  }

  /** Of rows one after the other. */
  static of(width: number, height: number, rows: Uint8Array): Paint {
    const blank = Paint.blank(width, height);
    const tiles = blank.tiles.map((_tile, at) => {
      const tile = new Uint8Array(SIDE * SIDE).fill(NONE);
      const [left, top] = blank.corner(at);
      for (let y = top; y < Math.min(top + SIDE, height); y++) {
        tile.set(rows.subarray(y * width + left, y * width + Math.min(left + SIDE, width)), (y - top) * SIDE);
      }
      return tile;
    });
    return new Paint(width, height, tiles);
  }

  /** The upper left pixel of a tile. */
  corner(tile: number): [number, number] {
    return [(tile % this.across) * SIDE, Math.floor(tile / this.across) * SIDE];
  }

  /** With pixels that are not asked about: where `inside` is 0. */
  within(inside: Uint8Array): Paint {
    const rows = this.rows();
    return Paint.of(this.width, this.height, rows.map((one, at) => (inside[at] ? one : OUTSIDE)));
  }

  at(x: number, y: number): number {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return NONE;
    return this.tiles[Math.floor(y / SIDE) * this.across + Math.floor(x / SIDE)][(y % SIDE) * SIDE + (x % SIDE)];
  }

  /** Rows one after the other, as a PNG has them. */
  rows(): Uint8Array {
    const rows = new Uint8Array(this.width * this.height);
    this.tiles.forEach((tile, at) => {
      const [left, top] = this.corner(at);
      const wide = Math.min(SIDE, this.width - left);
      for (let y = top; y < Math.min(top + SIDE, this.height); y++) {
        rows.set(tile.subarray((y - top) * SIDE, (y - top) * SIDE + wide), y * this.width + left);
      }
    });
    return rows.map((one) => (one === OUTSIDE ? NONE : one));
  }

  /** With the pixels of some spans in a class; itself where nothing changes. */
  filled(spans: readonly Span[], value: number): Paint {
    const fresh = new Map<number, Uint8Array>();
    for (const [y, first, last] of spans) {
      if (y < 0 || y >= this.height) continue;
      const end = Math.min(last, this.width);
      for (let from = Math.max(first, 0); from < end; ) {
        const at = Math.floor(y / SIDE) * this.across + Math.floor(from / SIDE);
        const to = Math.min(end, (Math.floor(from / SIDE) + 1) * SIDE);
        const row = (y % SIDE) * SIDE;
        const [a, b] = [row + (from % SIDE), row + (from % SIDE) + to - from];
        const old = fresh.get(at) ?? this.tiles[at];
        if (old.subarray(a, b).some((one) => one !== value && one !== OUTSIDE)) {
          const tile = fresh.get(at) ?? old.slice();
          for (let place = a; place < b; place++) if (tile[place] !== OUTSIDE) tile[place] = value;
          fresh.set(at, tile);
        }
        from = to;
      }
    }
    return fresh.size ? new Paint(this.width, this.height, this.tiles.map((tile, at) => fresh.get(at) ?? tile)) : this;
  }

  /** With one class for all pixels that have none, or for all whatever they have. */
  whole(value: number, onlyBare: boolean): Paint {
    const tiles = this.tiles.map((tile, at) => {
      const [left, top] = this.corner(at);
      const [wide, high] = [this.width - left, this.height - top];
      const meant = (one: number, place: number) =>
        one !== OUTSIDE && (!onlyBare || one === NONE) && place % SIDE < wide && place / SIDE < high;
      return tile.some((one, place) => one !== value && meant(one, place)) ? tile.map((one, place) => (meant(one, place) ? value : one)) : tile;
    });
    return new Paint(this.width, this.height, tiles);
  }

  /** Pixels of each class. */
  counts(): Uint32Array {
    const total = new Uint32Array(256);
    const beyond = this.tiles.length * SIDE * SIDE - this.width * this.height;
    for (const tile of this.tiles) countsOf(tile).forEach((count, value) => (total[value] += count));
    total[NONE] -= beyond; // tiles reach over the border of the picture, where nothing has a class
    return total;
  }
}

const known = new WeakMap<Uint8Array, Uint32Array>();

function countsOf(tile: Uint8Array): Uint32Array {
  let counts = known.get(tile);
  if (!counts) {
    counts = new Uint32Array(256);
    for (const value of tile) counts[value]++;
    known.set(tile, counts);
  }
  return counts;
}

/** The pixels whose middle lies inside a closed line, by the even-odd rule. */
export function enclosed(line: readonly [number, number][]): Span[] {
  const heights = line.map(([, y]) => y);
  const spans: Span[] = [];
  for (let row = Math.ceil(Math.min(...heights) - 0.5); row + 0.5 <= Math.max(...heights); row++) {
    const middle = row + 0.5;
    const cuts: number[] = [];
    line.forEach(([x1, y1], at) => {
      const [x2, y2] = line[(at + 1) % line.length];
      if (y1 <= middle !== y2 <= middle) cuts.push(x1 + ((middle - y1) / (y2 - y1)) * (x2 - x1));
    });
    cuts.sort((one, other) => one - other);
    for (let at = 0; at + 1 < cuts.length; at += 2) {
      const [first, last] = [Math.ceil(cuts[at] - 0.5), Math.ceil(cuts[at + 1] - 0.5)];
      if (last > first) spans.push([row, first, last]);
    }
  }
  return spans;
}

/** The pixels under a round brush that goes from one place to another. */
export function stroke(from: [number, number], to: [number, number], radius: number): Span[] {
  const ends = new Map<number, [number, number]>();
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    disc(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, radius, ends);
  }
  return [...ends].map(([y, [first, last]]) => [y, first, last]);
}

/** What a disc adds to the ends of each row; a pixel belongs to it where its middle does, and one always does. */
function disc(x: number, y: number, radius: number, ends: Map<number, [number, number]>): void {
  const add = (row: number, first: number, last: number) => {
    const old = ends.get(row);
    ends.set(row, old ? [Math.min(old[0], first), Math.max(old[1], last)] : [first, last]);
  };
  add(Math.floor(y), Math.floor(x), Math.floor(x) + 1);
  for (let row = Math.ceil(y - radius - 0.5); row + 0.5 <= y + radius; row++) {
    const half = Math.sqrt(Math.max(0, radius ** 2 - (row + 0.5 - y) ** 2));
    const [first, last] = [Math.ceil(x - half - 0.5), Math.floor(x + half - 0.5) + 1];
    if (last > first) add(row, first, last);
  }
}
