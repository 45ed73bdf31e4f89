// The next round: how many, by which strategy, and a training where one is wanted first.
import { useState } from "preact/hooks";
import { shown } from "../text";
import type { Strategies } from "../types";

interface Props {
  strategies: Strategies;
  pending: number;
  busy: boolean;
  fit: () => void;
  suggest: (count: number, strategy: string | null, more: boolean) => void;
}

export function NextRound({ strategies, pending, busy, fit, suggest }: Props) {
  const [count, setCount] = useState(20);
  const [name, setName] = useState(strategies.default);
  const chosen = strategies.strategies.find((one) => one.name === name);
  const unfit = strategies.strategies.filter((one) => !one.fits);
  return (
    <form
      class="next"
      onSubmit={(event) => {
        event.preventDefault();
        suggest(count, name === strategies.default ? null : name, pending > 0);
      }}
    >
      <h2>The next round</h2>
      <label>
        Images
        <input type="number" min={1} max={10000} required value={count} onInput={(event) => setCount(Math.max(1, event.currentTarget.valueAsNumber || 1))} />
      </label>
      <label>
        Strategy
        <select value={name} onChange={(event) => setName(event.currentTarget.value)}>
          {strategies.strategies.map((one) => (
            <option key={one.name} value={one.name} disabled={!one.fits}>
              {shown(one.name)}
              {one.name === strategies.default ? " (the project's)" : ""}
            </option>
          ))}
        </select>
      </label>
      <button class="primary" disabled={busy || chosen?.fits === false}>
        {pending ? "Choose more" : "Choose"}
      </button>
      <button type="button" disabled={busy} onClick={fit}>
        Train now
      </button>
      {chosen?.line && <p class="hint">{shown(chosen.line)}</p>}
      {pending > 0 && <p class="hint">{pending} of the round before still wait; what is chosen now comes beside them.</p>}
      {unfit.length > 0 && (
        <details>
          <summary>{unfit.length} strategies do not fit this project, and why</summary>
          <dl>
            {unfit.map((one) => (
              <>
                <dt key={one.name}>{shown(one.name)}</dt>
                <dd>{shown(one.why_not || one.line)}</dd>
              </>
            ))}
          </dl>
        </details>
      )}
    </form>
  );
}
