// How long somebody worked on a picture. A pause of more than five minutes counts as five: lunch is no labelling time.

/** Seconds of idleness that still count. */
export const IDLE = 300;

export class Stopwatch {
  private spent = 0;
  private last: number;

  constructor(private readonly now: () => number = () => performance.now()) {
    this.last = now();
  }

  /** Something was done: the time since the last thing counts, up to the bound. */
  tick(): void {
    const at = this.now();
    if (this.last !== Number.POSITIVE_INFINITY) this.spent += Math.min((at - this.last) / 1000, IDLE);
    this.last = at;
  }

  /** Nobody looks (another tab): what comes until `tick` does not count. */
  away(): void {
    this.tick();
    this.last = Number.POSITIVE_INFINITY;
  }

  back(): void {
    if (this.last === Number.POSITIVE_INFINITY) this.last = this.now();
  }

  seconds(): number {
    if (this.last !== Number.POSITIVE_INFINITY) this.tick();
    return Math.round(this.spent * 10) / 10;
  }
}
