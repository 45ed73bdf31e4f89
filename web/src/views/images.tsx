// All images as a grid: filtered, sorted, read page by page as one scrolls, opened by a click or Enter.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, Refused } from "../api";
import { listen } from "../answering";
import { Detail } from "../images/detail";
import { isWords } from "../guess";
import { FilterBar, type Filters, NONE } from "../images/filters";
import { Looking } from "../images/looking";
import { Tile } from "../images/tile";
import { replaceParts, route } from "../router";
import { useStore } from "../store";
import { plural } from "../text";
import type { Project, Tile as OneTile } from "../types";

const PAGE = 60;

function filtersIn(parts: URLSearchParams): Filters {
  const found = { ...NONE };
  for (const name of Object.keys(NONE) as (keyof Filters)[]) found[name] = parts.get(name) ?? "";
  return found;
}

export function ImagesView({ project }: { project: Project }) {
  const filters = filtersIn(useStore(route).parts);
  const said = JSON.stringify(filters);
  const { tiles, total, trouble, more, reread, restart } = usePages(said);
  const [open, setOpen] = useState<string | null>(null);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => seen[0].isIntersecting && more(), { rootMargin: "800px" });
    watch.observe(end.current as HTMLDivElement);
    return () => watch.disconnect();
  }, [said, tiles.length]);
  useEffect(() => listen((answer) => void reread(answer.id)), [said]);
  const step = (by: number) => {
    const at = tiles.findIndex((one) => one.id === open) + by;
    if (at >= tiles.length - 5) more();
    if (tiles[at]) setOpen(tiles[at].id);
  };
  return (
    <main class="images">
      <h1 class="unseen">Images</h1>
      <FilterBar project={project} filters={filters} set={(news) => replaceParts("images", { ...filters, ...news })} />
      {(filters.found === "errors" || filters.found === "duplicates") && (
        <Looking key={filters.found} what={filters.found} ids={tiles.filter((one) => one.wrong && one.state === "labelled").map((one) => one.id)} changed={restart} />
      )}
      <p role="status" class="total">
        {trouble || (total === null ? "Reading …" : plural(total, "image"))}
      </p>
      <ul class="grid">
        {tiles.map((tile) => (
          <Tile key={tile.id} tile={tile} words={isWords(project.kind)} open={() => setOpen(tile.id)} />
        ))}
      </ul>
      <div ref={end} class="end" />
      {open !== null && (
        <Detail
          project={project}
          id={open}
          close={() => {
            void reread(open);
            setOpen(null);
          }}
          step={step}
        />
      )}
    </main>
  );
}

/** The pages read so far for some filters; an answer that comes late for older ones is dropped. */
function usePages(said: string) {
  const [tiles, setTiles] = useState<OneTile[]>([]);
  const [total, setTotal] = useState<number | null>(null);
  const [trouble, setTrouble] = useState("");
  const turn = useRef(0);
  const busy = useRef(false);
  const now = useRef(tiles);
  now.current = tiles;

  const read = async (start: number, mine: number) => {
    busy.current = true;
    try {
      const page = await api.images({ start, count: PAGE, ...(JSON.parse(said) as Filters) });
      if (mine !== turn.current) return;
      const known = new Set(start ? now.current.map((one) => one.id) : []);
      setTiles([...(start ? now.current : []), ...page.items.filter((one) => !known.has(one.id))]);
      setTotal(page.total);
      setTrouble("");
    } catch (error) {
      if (mine === turn.current) setTrouble(error instanceof Refused ? error.message : String(error));
    } finally {
      if (mine === turn.current) busy.current = false;
    }
  };
  const restart = () => void read(0, ++turn.current);
  useEffect(() => {
    const mine = ++turn.current;
    // somebody who is still writing asks once, not with every letter
    const wait = setTimeout(() => void read(0, mine), 150);
    return () => clearTimeout(wait);
  }, [said]);
  const more = () => {
    if (!busy.current && total !== null && now.current.length < total) void read(now.current.length, turn.current);
  };
  /** Reads one image again after it was changed; it stays in its place even where the filter would drop it now. */
  const reread = async (id: string) => {
    const item = await api.item(id).catch(() => null);
    if (!item) return;
    const { state, classes, annotators, predicted, doubt, tags, wrong } = item;
    setTiles(now.current.map((one) => (one.id === id ? { ...one, state, classes, annotators, predicted, doubt, tags, wrong, label: item.words } : one)));
  };
  return { tiles, total, trouble, more, reread, restart };
}
