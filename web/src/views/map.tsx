// The pool as a map: images that are alike lie close together.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, picture, Refused } from "../api";
import { Detail } from "../images/detail";
import { Found } from "../map/found";
import { type By, BYS, grouping, SHAPES } from "../map/groups";
import { Plot } from "../map/plot";
import { Shape } from "../map/shape";
import { lastPart, number, shown } from "../text";
import type { MapColumns, MapState, Project } from "../types";

const METHODS: [string, string][] = [
  ["pca", "PCA: at once, coarse"],
  ["tsne", "t-SNE: minutes, neighbourhoods"],
  ["umap", "UMAP: minutes, neighbourhoods and their distances"],
];

export function MapView({ project }: { project: Project }) {
  const { state, trouble, start } = useMapState();
  const [data, setData] = useState<{ places: Float32Array; columns: MapColumns } | null>(null);
  const [failed, setFailed] = useState("");
  const ready = state?.state === "ready";
  const counts = JSON.stringify(project.counts);
  useEffect(() => {
    if (!ready) return;
    let here = true;
    // colours follow the answers; places are read again with them only where the map is another one
    Promise.all([data && data.places.length === 2 * (state?.count ?? 0) ? data.places : api.mapPoints(), api.mapColumns()]).then(
      ([places, columns]) => here && setData({ places, columns }),
      (error) => here && setFailed(error instanceof Refused ? error.message : String(error)),
    );
    return () => void (here = false);
  }, [ready, state?.method, state?.count, counts]);
  const begin = (method: string) => {
    setData(null);
    start(method);
  };
  const why = trouble || failed || (state?.state === "failed" ? state.error : "");
  return (
    <main class="map">
      <h1 class="unseen">Map</h1>
      {state && <Methods state={state} start={begin} />}
      {why && (
        <p role="alert" class="trouble">
          {why}
        </p>
      )}
      {data && ready ? <Whole project={project} {...data} /> : <Waiting state={state} />}
    </main>
  );
}

/** What the server does about the map, asked again while it works on it. */
function useMapState() {
  const [state, setState] = useState<MapState | null>(null);
  const [trouble, setTrouble] = useState("");
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const look = async () => {
    try {
      const now = await api.map();
      setState(now);
      setTrouble("");
      if (now.state === "working") timer.current = setTimeout(look, 700);
    } catch (error) {
      setTrouble(error instanceof Refused ? error.message : String(error));
      timer.current = setTimeout(look, 4000);
    }
  };
  useEffect(() => {
    void look();
    return () => clearTimeout(timer.current);
  }, []);
  const start = (method: string) => {
    clearTimeout(timer.current);
    api.startMap(method).then(look, (error) => setTrouble(error instanceof Refused ? error.message : String(error)));
  };
  return { state, trouble, start };
}

function Methods({ state, start }: { state: MapState; start: (method: string) => void }) {
  const [method, setMethod] = useState(state.method ?? "pca");
  const working = state.state === "working";
  const known = state.total > 1; // "0 of 1" says nothing
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        start(method);
      }}
    >
      <label>
        Method
        <select value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
          {METHODS.map(([value, word]) => (
            <option key={value} value={value}>
              {word}
            </option>
          ))}
        </select>
      </label>
      <button class={state.state === "ready" ? "" : "primary"} disabled={working}>
        {state.state === "ready" ? "Make it again" : "Make the map"}
      </button>
      {working && (
        <span role="status" class="progressing">
          <progress max={known ? state.total : undefined} value={known ? state.done : undefined} /> {known ? `${number(state.done)} of ${number(state.total)}` : "working"}
        </span>
      )}
    </form>
  );
}

function Waiting({ state }: { state: MapState | null }) {
  if (!state || state.state === "ready" || state.state === "working") return <p class="empty" role="status">{state?.state === "working" ? "The map is made in the background; you can go on labelling." : "Reading …"}</p>;
  return <p class="empty">There is no map of this pool yet: it is made from the features of the images, once.</p>;
}

function Whole({ project, places, columns }: { project: Project; places: Float32Array; columns: MapColumns }) {
  const [by, setBy] = useState<By>("state");
  const [hidden, hide] = useState<Set<number>>(new Set());
  const [marked, mark] = useState<number[]>([]);
  const [lasso, setLasso] = useState(false);
  const [open, setOpen] = useState<string | null>(null);
  const { tip, hover } = useTip();
  const groups = useMemo(() => grouping(by, columns, project), [by, columns, project.classes]);
  const openAt = (at: number) => void api.mapItems([at]).then((found) => found.items[0] && setOpen(found.items[0].id), () => undefined);
  const toggle = (at: number) => {
    const next = new Set(hidden);
    if (!next.delete(at)) next.add(at);
    hide(next);
  };
  return (
    <div class="whole">
      <div class="plotted">
        <Plot places={places} grouping={groups} hidden={hidden} marked={marked} mark={mark} hover={hover} open={openAt} lasso={lasso} />
        {tip && (
          <div class="tip" style={{ left: `${tip.x + 14}px`, top: `${tip.y + 14}px` }}>
            <img src={picture(tip.id, 192)} alt="" />
            <bdi>{lastPart(tip.id)}</bdi>
            <span>{tip.label ? `label ${shown(tip.label)}` : "no label"}</span>
            {tip.predicted && <span>predicted {shown(tip.predicted)}</span>}
          </div>
        )}
      </div>
      <aside class="side">
        <fieldset class="switch">
          <legend>Drag</legend>
          <label>
            <input type="radio" name="drag" checked={!lasso} onChange={() => setLasso(false)} /> moves the map
          </label>
          <label>
            <input type="radio" name="drag" checked={lasso} onChange={() => setLasso(true)} /> loops images (or Shift)
          </label>
        </fieldset>
        <label class="stack">
          Coloured by
          <select
            value={by}
            onChange={(event) => {
              hide(new Set());
              setBy(event.currentTarget.value as By);
            }}
          >
            {BYS.map(([value, word]) => (
              <option key={value} value={value}>
                {word}
              </option>
            ))}
          </select>
        </label>
        <ul class="legend" aria-label="Legend: press to show or hide">
          {groups.groups.map(
            (one, at) =>
              one.count > 0 && (
                <li key={at}>
                  <button type="button" class="plain" aria-pressed={!hidden.has(at)} onClick={() => toggle(at)} title={`${one.name}: ${SHAPES[one.shape]}`}>
                    <Shape shape={one.shape} colour={one.colour} />
                    <bdi class="cut">{one.name}</bdi>
                    <small>{number(one.count)}</small>
                  </button>
                </li>
              ),
          )}
        </ul>
        {marked.length > 0 ? (
          <Found project={project} which={marked} grouping={groups} open={setOpen} mark={mark} />
        ) : (
          <p class="hint">Shift and drag around some images to list them; V lists what is in view. A click opens one.</p>
        )}
      </aside>
      {open !== null && <Detail project={project} id={open} close={() => setOpen(null)} />}
    </div>
  );
}

interface Tip {
  id: string;
  label: string;
  predicted: string;
  x: number;
  y: number;
}

/** What is under the pointer, once it rests there for a moment; names are asked for once. */
function useTip() {
  const [tip, setTip] = useState<Tip | null>(null);
  const last = useRef(-1);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const known = useRef(new Map<number, Omit<Tip, "x" | "y">>());
  const hover = (at: number, x: number, y: number) => {
    if (at === last.current) return;
    last.current = at;
    clearTimeout(timer.current);
    if (at < 0) return setTip(null);
    timer.current = setTimeout(async () => {
      try {
        const one = known.current.get(at) ?? (await api.mapItems([at])).items[0];
        known.current.set(at, one);
        if (last.current === at) setTip({ ...one, x, y });
      } catch {
        // the picture of a point is no reason to bother anybody
      }
    }, 60);
  };
  return { tip, hover };
}
