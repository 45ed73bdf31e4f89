// What of the images is shown: kept in the address, so that a filter can be sent to somebody.
import { lastPart, shown } from "../text";
import type { Project } from "../types";

export type Filters = Record<"state" | "class" | "predicted" | "round" | "annotator" | "split" | "text" | "tag" | "found" | "like" | "doubt" | "sort", string>;

export const NONE: Filters = { state: "", class: "", predicted: "", round: "", annotator: "", split: "", text: "", tag: "", found: "", like: "", doubt: "", sort: "" };

const FOUND: [string, string][] = [
  ["errors", "labels that look wrong"],
  ["duplicates", "near-duplicates"],
];
const SORTS: [string, string][] = [
  ["", "name, or as found"],
  ["doubt", "most doubtful first"],
  ["rank", "rank"],
];

export function FilterBar({ project, filters, set }: { project: Project; filters: Filters; set: (news: Partial<Filters>) => void }) {
  const classes = project.classes.map((one): [string, string] => [one, shown(one)]);
  const used = Object.entries(filters).some(([name, value]) => value && name !== "sort");
  return (
    <form class="filters" role="search" aria-label="Images" onSubmit={(event) => event.preventDefault()}>
      <input
        type="search"
        aria-label="Text in the name"
        placeholder="Text in the name"
        value={filters.text}
        onInput={(event) => set({ text: event.currentTarget.value })}
      />
      <Choice label="Found" value={filters.found} among={FOUND} set={(found) => set({ found, like: "" })} />
      <Choice label="Tag" value={filters.tag} among={project.tags.map((one) => [one, shown(one)])} set={(tag) => set({ tag })} />
      <Choice label="State" value={filters.state} among={["labelled", "pending", "skipped", "unlabelled"].map((one) => [one, one === "pending" ? "waiting" : one])} set={(state) => set({ state })} />
      <Choice label="Label" value={filters.class} among={classes} set={(cls) => set({ class: cls })} />
      <Choice label="Predicted" value={filters.predicted} among={classes} set={(predicted) => set({ predicted })} />
      <label>
        Round
        <input class="short" type="number" min={0} placeholder="any" value={filters.round} onInput={(event) => set({ round: event.currentTarget.value })} />
      </label>
      <label>
        Doubt from
        <input class="short" type="number" min={0} max={1} step={0.05} placeholder="0" value={filters.doubt} onInput={(event) => set({ doubt: event.currentTarget.value })} />
      </label>
      <Choice label="Labelled by" value={filters.annotator} among={project.labelled_by.map((one) => [one, shown(one)])} set={(annotator) => set({ annotator })} />
      <Choice label="Split" value={filters.split} among={["pool", "test", "validation"].map((one) => [one, one])} set={(split) => set({ split })} />
      <label>
        Sorted by
        <select value={filters.sort} onChange={(event) => set({ sort: event.currentTarget.value })}>
          {SORTS.map(([value, word]) => (
            <option key={value} value={value}>
              {word}
            </option>
          ))}
        </select>
      </label>
      {filters.like && (
        <button type="button" title={shown(filters.like)} onClick={() => set({ like: "" })}>
          Like <bdi>{lastPart(filters.like)}</bdi> <span aria-hidden="true">×</span>
        </button>
      )}
      {used && (
        <button type="button" onClick={() => set({ ...NONE, sort: filters.sort })}>
          All images
        </button>
      )}
    </form>
  );
}

function Choice({ label, value, among, set }: { label: string; value: string; among: [string, string][]; set: (value: string) => void }) {
  if (!among.length) return null;
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">any</option>
        {among.map(([one, word]) => (
          <option key={one} value={one}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}
