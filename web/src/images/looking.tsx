// What was looked for among the images: how it stands, a button that looks, and labels that look wrong asked about again.
import { useEffect, useState } from "preact/hooks";
import { api, Refused } from "../api";
import { JobLine, useJob } from "../progress/job";
import { session } from "../queue/session";
import { number, percent, plural } from "../text";
import type { Findings } from "../types";

type What = "errors" | "duplicates";

/** Labels that one click asks about again, at most. */
const MOST = 100;

export function Looking({ what, ids, changed }: { what: What; ids: string[]; changed: () => void }) {
  const [found, setFound] = useState<Findings | null>(null);
  const [said, say] = useState("");
  const read = () => void api.findings().then(setFound, (error) => say(error instanceof Refused ? error.message : String(error)));
  useEffect(read, [what]);
  const { job, trouble, act } = useJob(() => {
    read();
    changed();
  });
  const known = found && found[what] !== null;
  const again = async () => {
    try {
      const { done } = await api.askAgain({ ids: ids.slice(0, MOST) });
      say(`${plural(done, "label")} asked about again: they wait in the queue, and the same answer confirms one.`);
      void session().load(true);
      changed();
    } catch (error) {
      say(error instanceof Refused ? error.message : String(error));
    }
  };
  return (
    <section class="looking" aria-label="What was found">
      <p>
        {found ? (what === "errors" ? inErrors(found) : inDuplicates(found)) : "Reading …"}{" "}
        {found && (
          <button type="button" class={known ? "" : "primary"} disabled={Boolean(job?.running)} onClick={() => void act(api.startJob({ what }))}>
            {known ? "Look again" : "Look"}
          </button>
        )}{" "}
        {what === "errors" && ids.length > 0 && (
          <button type="button" onClick={() => void again()}>
            Ask about {ids.length > MOST ? `the first ${MOST}` : plural(ids.length, "label")} again
          </button>
        )}
      </p>
      <p role="status">{said}</p>
      <JobLine job={job?.what === what ? job : null} trouble={trouble} stop={() => void act(api.stopJob())} />
    </section>
  );
}

function inErrors({ errors }: Findings): string {
  if (!errors) return "Five models are trained, each without a fifth of the labels, and say which of these look wrong.";
  const since = errors.labels - errors.judged;
  return `${number(errors.left)} of ${plural(errors.judged, "label")} look wrong${since > 0 ? `; ${number(since)} more were not judged` : ""}.`;
}

function inDuplicates({ duplicates }: Findings): string {
  if (!duplicates) return "Images that look nearly the same, group by group, by their frozen features.";
  return `${plural(duplicates.images, "image")} in ${plural(duplicates.groups, "group")}: each is like another of its group by ${percent(duplicates.threshold)} and more.`;
}
