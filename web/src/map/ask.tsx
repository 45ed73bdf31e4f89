// A round out of the images that were looped: how many, by the project's strategy.
import { useState } from "preact/hooks";
import { api } from "../api";
import { JobLine, useJob } from "../progress/job";
import { session } from "../queue/session";

export function Ask({ which }: { which: number[] }) {
  const [wanted, setWanted] = useState(20);
  const { job, trouble, act } = useJob(() => void session().load(true));
  const count = Math.min(wanted, which.length);
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault();
        void act(api.startJob({ what: "suggest", count, strategy: null, more: true, among: which }));
      }}
    >
      <label>
        Ask
        <input type="number" min={1} max={which.length} required value={count} onInput={(event) => setWanted(Math.max(1, event.currentTarget.valueAsNumber || 1))} />
        of these
      </label>
      <button class="primary" disabled={Boolean(job?.running)}>
        Choose
      </button>
      <JobLine job={job?.what === "suggest" ? job : null} trouble={trouble} stop={() => void act(api.stopJob())} />
    </form>
  );
}
