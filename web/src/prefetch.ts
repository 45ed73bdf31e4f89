// Pictures that will be looked at next are fetched and decoded beforehand: the next one stands there within a frame.
import { picture, type Side } from "./api";

interface Kept {
  url: string | null;
  ready: Promise<string>;
}

/** How many pictures are held; at 1280 pixels each is some five megabytes once it is decoded. */
const MOST = 24;

export class Prefetch {
  private readonly kept = new Map<string, Kept>();
  /** Decoded pictures are dropped by the browser unless something holds them. */
  private readonly held = new Map<string, HTMLImageElement>();

  constructor(private readonly side: Side = 1280) {}

  /** Where a picture can be shown from at once; the server's own address while it is not here yet. */
  url(id: string): string {
    return this.kept.get(id)?.url ?? picture(id, this.side);
  }

  has(id: string): boolean {
    return Boolean(this.kept.get(id)?.url);
  }

  /** Fetches pictures one after the other, the first first. */
  async want(ids: string[]): Promise<void> {
    for (const id of ids) {
      try {
        await (this.kept.get(id) ?? this.fetch(id)).ready;
      } catch {
        this.kept.delete(id); // it is asked for again when it is shown, and the page says then that it is missing
      }
    }
    this.drop(new Set(ids));
  }

  private fetch(id: string): Kept {
    const one: Kept = { url: null, ready: Promise.resolve("") };
    one.ready = (async () => {
      const response = await fetch(picture(id, this.side), { credentials: "same-origin" });
      if (!response.ok) throw new Error(String(response.status));
      const url = URL.createObjectURL(await response.blob());
      const image = new Image();
      image.src = url;
      await image.decode().catch(() => undefined);
      this.held.set(id, image);
      one.url = url;
      return url;
    })();
    this.kept.set(id, one);
    return one;
  }

  private drop(wanted: Set<string>): void {
    for (const [id, one] of this.kept) {
      if (this.kept.size <= MOST) return;
      if (wanted.has(id) || !one.url) continue;
      // the address stays good while it is on screen: it is given up a little later
      const url = one.url;
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      this.kept.delete(id);
      this.held.delete(id);
    }
  }
}
