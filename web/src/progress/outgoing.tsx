// What leaves the page: advice in words, the report, labels and picks in the formats of other tools.
import { useEffect, useState } from "preact/hooks";
import { api, type Work } from "../api";
import { shown } from "../text";
import type { Outgoing } from "../types";

interface Props {
  /** Read again whenever this changes. */
  fresh: unknown;
  busy: boolean;
  pending: number;
  start: (work: Work) => void;
  failed: (error: unknown) => void;
}

export function Leaving({ fresh, busy, pending, start, failed }: Props) {
  const [state, setState] = useState<Outgoing | null>(null);
  const [use, setUse] = useState<"labelled" | "asked">("labelled");
  const [named, setName] = useState("");
  useEffect(() => void api.outgoing().then(setState, failed), [fresh]);
  if (!state) return null;
  const formats = state.formats[use];
  const chosen = formats.find((one) => one.name === named) ?? formats[0];
  return (
    <section class="leaving">
      <h2>Advice, report, files</h2>
      <p class="buttons">
        <button type="button" disabled={busy} onClick={() => start({ what: "advise" })}>
          What would more labels bring?
        </button>
        <button type="button" disabled={busy} onClick={() => start({ what: "report" })}>
          Write the report
        </button>
        {state.report && (
          <a href="/api/report" target="_blank" rel="noopener">
            Open the report
          </a>
        )}
      </p>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          if (chosen) start({ what: "export", use, format: chosen.name });
        }}
      >
        <label>
          Export
          <select value={use} onChange={(event) => setUse(event.currentTarget.value as "labelled" | "asked")}>
            <option value="labelled">all labels</option>
            <option value="asked" disabled={!pending}>
              what waits
            </option>
          </select>
        </label>
        <label>
          as
          <select value={chosen?.name} onChange={(event) => setName(event.currentTarget.value)}>
            {formats.map((one) => (
              <option key={one.name} value={one.name}>
                {shown(one.name)}
              </option>
            ))}
          </select>
        </label>
        <button disabled={busy || !chosen}>Export</button>
        {state.exported && (
          <a href="/api/exported" download>
            Download {shown(state.exported.replace("exported.", ""))}
          </a>
        )}
      </form>
      {chosen && <p class="hint">{shown(chosen.about)}</p>}
    </section>
  );
}
