// The page of a study: curves for the seeds, the cost and the metric of one's choice, and what each run picked.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { picture, query, Refused, type Side, study as api } from "./api";
import { Curves } from "./study/curves";
import { Table } from "./study/table";
import { lastPart, number, plural, score, shown } from "./text";
import type { StudyAbout, StudyCurves, StudyPicks } from "./types";

function useAsked<T>(ask: (() => Promise<T>) | null, when: string): { found: T | null; trouble: string } {
  const [found, set] = useState<T | null>(null);
  const [trouble, say] = useState("");
  useEffect(() => {
    let here = true;
    ask?.().then(
      (one) => {
        if (!here) return;
        set(one);
        say("");
      },
      (error) => here && say(error instanceof Refused ? error.message : String(error)),
    );
    return () => {
      here = false;
    };
  }, [when]);
  return { found, trouble };
}

function Page() {
  const { found: about, trouble } = useAsked(api.about, "");
  useEffect(() => {
    if (about) document.title = `${shown(about.name).slice(0, 60)} · labelwise`;
  }, [about]);
  if (!about) return <main class="empty">{trouble ? <p role="alert">{trouble}</p> : <p role="status">Opening the study …</p>}</main>;
  return (
    <>
      <header class="top">
        <strong class="name" title={shown(about.name)}>
          <bdi class="cut">{shown(about.name)}</bdi>
        </strong>
        <span class="counts">
          {about.task}, {plural(about.strategies.length, "strategy", "strategies")}, {plural(about.seeds.length, "seed")}
        </span>
      </header>
      <main class="study">
        {about.warnings.map((one) => (
          <p key={one} role="alert" class="trouble">
            {shown(one)}
          </p>
        ))}
        <Compared about={about} />
        <Picked about={about} />
      </main>
    </>
  );
}

function Compared({ about }: { about: StudyAbout }) {
  const [seeds, setSeeds] = useState(about.seeds);
  const [unit, setUnit] = useState(about.units[0]);
  const [metric, setMetric] = useState(about.metric);
  const { found, trouble } = useAsked<StudyCurves>(seeds.length ? () => api.curves(seeds, unit, metric) : null, query({ seeds: seeds.join(), unit, metric }));
  const flip = (seed: number) => setSeeds(seeds.includes(seed) ? seeds.filter((one) => one !== seed) : [...seeds, seed].sort((a, b) => a - b));
  return (
    <section aria-label="Curves">
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Seeds: the first
          <input type="range" min="1" max={about.seeds.length} value={seeds.length} aria-label="How many seeds" onInput={(event) => setSeeds(about.seeds.slice(0, event.currentTarget.valueAsNumber))} />
          {seeds.length} of {about.seeds.length}
        </label>
        <span class="buttons" role="group" aria-label="Which seeds">
          {about.seeds.map((seed) => (
            <button key={seed} type="button" aria-pressed={seeds.includes(seed)} onClick={() => flip(seed)}>
              {seed}
            </button>
          ))}
        </span>
        <Choice label="Over" value={unit} among={about.units} set={setUnit} />
        <Choice label="Metric" value={metric} among={about.metrics} set={setMetric} />
      </form>
      {trouble && <p role="alert">{trouble}</p>}
      {!seeds.length && <p role="status">Choose at least one seed.</p>}
      {found && seeds.length > 0 && (
        <>
          <Curves about={about} curves={found} />
          <p>{shown(found.says)}</p>
          <Table about={about} rows={found.table} metric={about.metric} />
          {found.notes.length > 0 && (
            <ul class="why">
              {found.notes.map((one) => (
                <li key={one}>{shown(one)}</li>
              ))}
            </ul>
          )}
        </>
      )}
    </section>
  );
}

function Choice({ label, value, among, set }: { label: string; value: string; among: string[]; set: (value: string) => void }) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        {among.map((one) => (
          <option key={one} value={one}>
            {shown(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

const SIDES: Side[] = [96, 192, 384];

function Picked({ about }: { about: StudyAbout }) {
  const [strategy, setStrategy] = useState(about.strategies[0]?.name ?? "");
  const [other, setOther] = useState("");
  const [seed, setSeed] = useState(about.seeds[0]);
  const [round, setRound] = useState(0);
  const [side, setSide] = useState(1);
  const last = Math.max(0, about.rounds - 2); // after the last round nothing is picked
  const names = about.strategies.map((one) => one.name);
  return (
    <section aria-label="Picks">
      <h2>What was picked</h2>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Choice label="Strategy" value={strategy} among={names} set={setStrategy} />
        <Choice label="Beside" value={other} among={["", ...names]} set={setOther} />
        <Choice label="Seed" value={String(seed)} among={about.seeds.map(String)} set={(one) => setSeed(Number(one))} />
        <label>
          Round
          <input type="range" min="0" max={last} value={round} onInput={(event) => setRound(event.currentTarget.valueAsNumber)} /> {round}
        </label>
        <label>
          Size
          <input type="range" min="0" max={SIDES.length - 1} value={side} onInput={(event) => setSide(event.currentTarget.valueAsNumber)} />
        </label>
      </form>
      <Picks strategy={strategy} seed={seed} round={round} side={SIDES[side]} />
      {other && other !== strategy && <Picks strategy={other} seed={seed} round={round} side={SIDES[side]} />}
    </section>
  );
}

function Picks({ strategy, seed, round, side }: { strategy: string; seed: number; round: number; side: Side }) {
  const { found, trouble } = useAsked<StudyPicks>(() => api.picks(strategy, seed, round), query({ strategy, seed, round }));
  if (trouble) return <p role="alert">{trouble}</p>;
  if (!found) return <p role="status">Reading the picks …</p>;
  const many = found.picks.length;
  return (
    <>
      <h3>
        <bdi>{shown(strategy)}</bdi>: {found.labels === null ? "no such round" : `${plural(many, "pick")} after ${number(found.labels)} labels`}
      </h3>
      {!found.pictures && many > 0 && <p class="hint">The images of this study are not where its recipe says: names alone are shown.</p>}
      <ol class={`picks side-${side}`}>
        {found.picks.map((one, at) => (
          <li key={one.id}>
            {found.pictures && <img src={picture(one.id, side)} alt={shown(one.id)} loading="lazy" />}
            <bdi class="cut" title={shown(one.id)}>
              {at + 1}. {lastPart(one.id)}
            </bdi>
            {one.score !== null && <small>{score(one.score)}</small>}
          </li>
        ))}
      </ol>
      {found.notes.map((one) => (
        <p key={one} class="hint">
          {shown(one)}
        </p>
      ))}
    </>
  );
}

render(<Page />, document.getElementById("page") as HTMLElement);
