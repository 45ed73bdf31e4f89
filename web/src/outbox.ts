// Answers on their way to the server. Each is kept in the browser until the server said that it has it, so that neither a
// reload nor a server that is gone loses one. One file of the store per answer: two tabs never write over each other.
import { api, Refused } from "./api";
import { Store } from "./store";
import type { Answer, Answered } from "./types";

export interface Waiting extends Answer {
  key: string;
  tab: string;
}

export interface Standing {
  unsent: number;
  /** Why the last try failed; "" while all is well. */
  trouble: string;
  saved: number;
  lastSaved: string | null;
  notes: string[];
}

const TAB = unique();
const LOCK = "labelwise-tab-";
/** Milliseconds until the next try, after each failure one further. */
const PAUSES = [1000, 2000, 4000, 8000, 15000];
/** How many go in one request. */
const MOST = 50;

/** `crypto.randomUUID` is only there on pages that count as safe, and a server on another machine is not. */
function unique(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  readonly standing = new Store<Standing>({ unsent: 0, trouble: "", saved: 0, lastSaved: null, notes: [] });
  private waiting: Waiting[] = [];
  private sending: Waiting[] = [];
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly prefix: string;

  /**
   * @param name of the project: two projects on one port never get each other's answers.
   * @param onSaved told of each answer that the server has.
   * @param onRefused told of each answer that the server will never take, and why.
   */
  constructor(
    name: string,
    private readonly onSaved: (answer: Answer) => void,
    private readonly onRefused: (answer: Answer, why: string) => void,
  ) {
    this.prefix = `labelwise:unsent:${name}:`;
    // a lock that lasts as long as this tab: others see by it that its answers are looked after
    void navigator.locks?.request(LOCK + TAB, () => new Promise(() => undefined));
    window.addEventListener("online", () => this.hurry());
    void this.adopt().then(() => this.send());
  }

  /** Takes an answer; it is kept before anything else happens. */
  put(answer: Answer): void {
    this.forget(this.waiting.filter((one) => one.id === answer.id)); // a newer answer about the same picture is the one that counts
    this.waiting = this.waiting.filter((one) => one.id !== answer.id);
    const one: Waiting = { ...answer, key: `${Date.now().toString().padStart(15, "0")}-${unique()}`, tab: TAB };
    this.keep(one);
    this.waiting.push(one);
    this.tell({});
    void this.send();
  }

  /** Takes an answer back that is not on its way; false where the server has it or is getting it. */
  drop(id: string): boolean {
    const mine = this.waiting.filter((one) => one.id === id);
    this.forget(mine);
    this.waiting = this.waiting.filter((one) => one.id !== id);
    this.tell({});
    return mine.length > 0 && !this.sending.some((one) => one.id === id);
  }

  /** Waits until nothing about a picture is on its way. */
  async settled(id: string): Promise<void> {
    while (this.sending.some((one) => one.id === id)) await new Promise((done) => setTimeout(done, 30));
  }

  hurry(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    void this.send();
  }

  private async send(): Promise<void> {
    if (this.sending.length || this.timer !== undefined) return;
    if (!this.waiting.length) return this.tell({ trouble: "" });
    // after a refusal each goes alone: the others are not to blame
    this.sending = this.waiting.splice(0, this.alone ? 1 : MOST);
    try {
      const bare = this.sending.map(({ key: _key, tab: _tab, ...answer }) => answer);
      this.succeed(await api.answers(bare));
    } catch (error) {
      this.fail(error instanceof Refused ? error : new Refused(0, String(error)));
    }
    if (this.timer === undefined) void this.send();
  }

  private alone = false;

  private succeed(answered: Answered): void {
    const done = this.sending;
    this.sending = [];
    this.failures = 0;
    if (!this.waiting.length) this.alone = false;
    this.forget(done);
    this.tell({ trouble: "", saved: this.standing.value.saved + done.length, lastSaved: done[done.length - 1].id, notes: answered.notes ?? [] });
    for (const answer of done) this.onSaved(answer);
  }

  private fail(error: Refused): void {
    const tried = this.sending;
    this.sending = [];
    if (!error.passing && tried.length === 1) {
      this.forget(tried);
      this.tell({});
      this.onRefused(tried[0], error.message);
      return;
    }
    // what was said meanwhile about the same picture is newer
    const newer = new Set(this.waiting.map((one) => one.id));
    this.forget(tried.filter((one) => newer.has(one.id)));
    this.waiting = [...tried.filter((one) => !newer.has(one.id)), ...this.waiting];
    if (!error.passing) {
      this.alone = true;
      return;
    }
    this.tell({ trouble: error.message });
    const pause = PAUSES[Math.min(this.failures++, PAUSES.length - 1)];
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.adopt().then(() => this.send());
    }, pause);
  }

  private tell(news: Partial<Standing>): void {
    this.standing.set({ ...this.standing.value, ...news, unsent: this.waiting.length + this.sending.length });
  }

  private keep(one: Waiting): void {
    try {
      localStorage.setItem(this.prefix + one.key, JSON.stringify(one));
    } catch {
      this.tell({ notes: ["this browser keeps nothing: do not close the page before all is saved"] });
    }
  }

  private forget(some: Waiting[]): void {
    try {
      for (const one of some) localStorage.removeItem(this.prefix + one.key);
    } catch {
      // nothing was kept
    }
  }

  /** Takes over what tabs left behind that are gone, oldest first. */
  private async adopt(): Promise<void> {
    const mine = new Set([...this.waiting, ...this.sending].map((one) => one.key));
    const alive = await livingTabs();
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix) && !mine.has(key.slice(this.prefix.length)));
      for (const key of keys.sort()) {
        const one = JSON.parse(localStorage.getItem(key) ?? "null") as Waiting | null;
        if (!one || alive.has(one.tab)) continue;
        this.waiting = this.waiting.some((other) => other.id === one.id) ? this.waiting : [...this.waiting, one];
      }
    } catch {
      // a browser that keeps nothing, or what is no answer of ours
    }
    this.tell({});
  }
}

async function livingTabs(): Promise<Set<string>> {
  const held = (await navigator.locks?.query())?.held ?? [];
  return new Set(held.map((lock) => lock.name ?? "").filter((name) => name.startsWith(LOCK)).map((name) => name.slice(LOCK.length)));
}
