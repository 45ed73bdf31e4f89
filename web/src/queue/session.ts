// Where somebody stands in the queue. It outlives the view, so that a look at the map loses neither place nor drafts.
import { api, Refused } from "../api";
import { give, listen, outbox } from "../answering";
import type { Draft } from "../edit/draft";
import { Prefetch } from "../prefetch";
import { projectSoon } from "../project";
import { Stopwatch } from "../stopwatch";
import { Store } from "../store";
import type { Pick, Raw } from "../types";

export interface Given {
  label: Raw | null;
  state: "sending" | "saved" | "refused";
  why: string;
}

/** How many picks are asked for at a time, and how few may be left before more are. */
const BATCH = 20;
const LOW = 10;
/** How many pictures ahead are fetched. */
const AHEAD = 8;

export class Session {
  readonly changes = new Store(0);
  readonly drafts = new Map<string, Draft[]>();
  readonly pictures = new Prefetch(1280);
  picks: Pick[] = [];
  given = new Map<string, Given>();
  at = 0;
  total = 0;
  loading = true;
  error = "";
  /** Ids in the order in which they were answered, the last last. */
  private history: string[] = [];
  private watch = new Stopwatch();
  private ended = false;

  constructor() {
    listen((answer, why) => {
      const given = this.given.get(answer.id);
      if (!given) return;
      this.given.set(answer.id, { ...given, state: why === null ? "saved" : "refused", why: why ?? "" });
      this.tell();
    });
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) {
      window.addEventListener(kind, () => this.watch.tick(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? this.watch.away() : this.watch.back()));
  }

  get current(): Pick | undefined {
    return this.picks[this.at];
  }

  /** How many of those loaded are still to be answered. */
  get open(): number {
    return this.picks.filter((one) => !this.isDone(one.id)).length;
  }

  isDone(id: string): boolean {
    const state = this.given.get(id)?.state;
    return state === "sending" || state === "saved";
  }

  /** Reads more of the queue where little is left of it; the first time, all that is shown comes from here. */
  async load(afresh = false): Promise<void> {
    if (afresh) this.ended = false;
    if (this.ended || (this.loading && this.picks.length)) return;
    this.loading = true;
    this.tell();
    try {
      // only what was saved before the question counts: an answer saved meanwhile is not in what comes back
      const before = new Set([...this.given].filter(([, given]) => given.state === "saved").map(([id]) => id));
      const after = afresh ? null : (this.picks[this.picks.length - 1]?.id ?? null);
      const queue = await api.queue(BATCH, after);
      const known = new Set(this.picks.map((one) => one.image));
      for (const one of queue.picks) if (before.has(one.id)) this.reopen(one.id);
      const fresh = queue.picks.filter((one) => !known.has(one.id));
      this.picks = [...this.picks, ...fresh];
      this.total = queue.total;
      this.ended = !fresh.length;
      this.error = "";
      if (!this.current || this.isDone(this.current.id)) this.toOpen();
    } catch (error) {
      this.error = error instanceof Refused ? error.message : String(error);
    }
    this.loading = false;
    this.tell();
    this.prefetch();
  }

  /** An image whose answer was saved and that waits again (taken back elsewhere, a new round) is open once more. */
  private reopen(id: string): void {
    if (this.given.get(id)?.state === "saved") this.given.delete(id);
  }

  answer(label: Raw | null): void {
    const pick = this.current;
    if (!pick) return;
    performance.mark("labelwise:answered");
    this.given.set(pick.id, { label, state: "sending", why: "" });
    this.history = [...this.history.filter((id) => id !== pick.id), pick.id];
    give(pick.id, label, this.watch.seconds());
    this.toOpen();
    this.tell();
    this.prefetch();
    if (this.picks.length - this.at < LOW || this.open < LOW) void this.load();
  }

  /** Takes the last answer back, or the one about the picture that is shown; its picture is shown again. */
  async takeBack(): Promise<string> {
    const shown = this.current && this.given.has(this.current.id) ? this.current.id : undefined;
    const id = shown ?? this.history[this.history.length - 1];
    if (id === undefined) return "Nothing was answered in this tab that could be taken back.";
    await outbox().settled(id);
    try {
      // one that never reached the server is dropped here; the server is asked all the same where an older one did
      const unsent = outbox().drop(id);
      if (!unsent || this.given.get(id)?.state === "saved") await api.takeback(id);
    } catch (error) {
      return error instanceof Refused ? error.message : String(error);
    }
    this.given.delete(id);
    this.history = this.history.filter((one) => one !== id);
    this.show(this.picks.findIndex((one) => one.id === id));
    projectSoon();
    return "";
  }

  move(by: number): void {
    this.show(Math.min(Math.max(this.at + by, 0), this.picks.length - 1));
    if (this.picks.length - this.at < LOW) void this.load();
  }

  show(at: number): void {
    if (at < 0 || at >= this.picks.length) return;
    this.at = at;
    this.watch = new Stopwatch();
    this.tell();
    this.prefetch();
  }

  /** On to the next picture that waits, from here and then from the front. */
  private toOpen(): void {
    const order = [...this.picks.keys()];
    const next = [...order.slice(this.at), ...order.slice(0, this.at)].find((place) => !this.isDone(this.picks[place].id));
    this.at = next ?? this.picks.length;
    this.watch = new Stopwatch();
  }

  private prefetch(): void {
    const ahead = this.picks.slice(this.at).filter((one, place) => place === 0 || !this.isDone(one.id));
    const before = this.picks.slice(Math.max(0, this.at - 2), this.at);
    void this.pictures.want([...ahead.slice(0, AHEAD), ...before].map((one) => one.id));
  }

  private tell(): void {
    this.changes.set(this.changes.value + 1);
  }
}

let only: Session | null = null;

export function session(): Session {
  only ??= new Session();
  return only;
}
