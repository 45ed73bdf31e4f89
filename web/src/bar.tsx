// The bar: where one is, how far the project has come, what is saved, and who labels.
import { annotator } from "./annotator";
import { outbox, refusals } from "./answering";
import { route, to } from "./router";
import { useStore } from "./store";
import { lastPart, number, plural, shown } from "./text";
import type { Project } from "./types";

const VIEWS: [string, string][] = [
  ["queue", "Queue"],
  ["images", "Images"],
  ["map", "Map"],
  ["progress", "Progress"],
];

export function Bar({ project, help }: { project: Project; help: () => void }) {
  const { view } = useStore(route);
  const { counts } = project;
  const seen = counts.labelled + counts.pending + counts.skipped + counts.unlabelled;
  return (
    <header class="top">
      <strong class="name" title={shown(project.name)}>
        <bdi class="cut">{shown(project.name)}</bdi>
      </strong>
      <nav aria-label="Views">
        {VIEWS.map(([name, word]) => (
          <a key={name} href={to(name)} aria-current={view === name ? "page" : undefined}>
            {word}
          </a>
        ))}
      </nav>
      <span class="counts" title={`${number(counts.labelled)} labelled, ${number(counts.pending)} waiting, ${number(counts.skipped)} skipped, ${number(counts.unlabelled)} not asked`}>
        <b>{number(counts.labelled)}</b> of {number(seen)} labelled, {number(counts.pending)} waiting
      </span>
      <Saved />
      <label class="who">
        <span>Name</span>
        <input
          value={annotator.value}
          placeholder="optional"
          maxLength={80}
          list="names"
          autocomplete="off"
          onChange={(event) => annotator.set(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
        />
        <datalist id="names">
          {project.labelled_by.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      </label>
      <button type="button" class="help" aria-label="Keys" title="Keys (?)" onClick={help}>
        ?
      </button>
    </header>
  );
}

/** What the server has, and what it does not have yet: `saved` is said when it said so, never before. */
function Saved() {
  const standing = useStore(outbox().standing);
  const refused = useStore(refusals);
  const { unsent, trouble, saved, notes } = standing;
  if (trouble) {
    return (
      <span class="saved trouble" role="alert">
        <span aria-hidden="true">⚠</span> {plural(unsent, "answer")} kept in this browser: {trouble}{" "}
        <button type="button" onClick={() => outbox().hurry()}>
          Try now
        </button>
      </span>
    );
  }
  if (refused.length) {
    const last = refused[refused.length - 1];
    return (
      <span class="saved trouble" role="alert" title={refused.map((one) => `${shown(one.id)}: ${shown(one.why)}`).join("\n")}>
        <span aria-hidden="true">⚠</span> {plural(refused.length, "answer")} refused: <bdi>{lastPart(last.id)}</bdi>: {shown(last.why)}{" "}
        <button type="button" onClick={() => refusals.set([])}>
          Seen
        </button>
      </span>
    );
  }
  return (
    <span class={`saved ${unsent ? "going" : ""}`} role="status" title={notes.map(shown).join("\n")}>
      {unsent ? `… saving ${number(unsent)}` : saved ? `✓ ${plural(saved, "answer")} saved` : ""}
    </span>
  );
}
