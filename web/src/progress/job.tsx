// What works in the background: how far it is, and a stop that loses nothing. It is asked about as long as it runs.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, Refused } from "../api";
import { readProject } from "../project";
import { duration, number, shown } from "../text";
import type { Job } from "../types";

const WORDS: Record<string, string> = { fit: "Training", suggest: "Choosing", map: "Making the map", errors: "Looking over the labels", duplicates: "Looking for near-duplicates", advise: "Reckoning", report: "Writing the report", export: "Exporting" };

/** The job as it stands; `done` is called once whenever one has come to its end. */
export function useJob(done: () => void) {
  const [job, setJob] = useState<Job | null>(null);
  const [trouble, setTrouble] = useState("");
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const ran = useRef(false);
  const look = async (): Promise<void> => {
    clearTimeout(timer.current);
    let pause = 5000;
    try {
      const now = await api.job();
      if (ran.current && !now.running) {
        void readProject();
        done();
      }
      ran.current = now.running;
      setJob(now);
      setTrouble("");
      if (now.running) pause = 700;
    } catch (error) {
      setTrouble(error instanceof Refused ? error.message : String(error));
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(() => void look(), pause);
  };
  useEffect(() => {
    void look();
    return () => clearTimeout(timer.current);
  }, []);
  const act = async (what: Promise<unknown>): Promise<void> => {
    try {
      await what;
      ran.current = true; // even one that is over before the first look has to be told of
      await look();
    } catch (error) {
      setTrouble(error instanceof Refused ? error.message : String(error));
    }
  };
  return { job, trouble, act };
}

export function JobLine({ job, trouble, stop }: { job: Job | null; trouble: string; stop: () => void }) {
  return (
    <section class="job" aria-live="polite">
      {trouble && (
        <p role="alert" class="trouble">
          {shown(trouble)}
        </p>
      )}
      {job?.running && (
        <p class="progressing">
          <b>{job.what ? (WORDS[job.what] ?? shown(job.what)) : "Working"}</b> {shown(job.stage ?? "")}{" "}
          <progress max={job.total || undefined} value={job.total ? job.done : undefined} />{" "}
          {job.total ? `${number(job.done ?? 0)} of ${number(job.total)}, ` : ""}
          {duration(job.seconds ?? 0)}{" "}
          <button type="button" onClick={stop}>
            Stop
          </button>
        </p>
      )}
      {job?.what && !job.running && !job.error && (
        <p class="hint">
          {WORDS[job.what] ?? shown(job.what)} ended after {duration(job.seconds ?? 0)}.
        </p>
      )}
      {job && !job.running && job.error && (
        <p role="alert" class="trouble">
          {shown(job.error)}
        </p>
      )}
      {job && !job.running && (job.notes?.length ?? 0) > 0 && (
        <ul class="why">
          {job.notes?.map((note, at) => (
            <li key={at}>
              <bdi>{shown(note)}</bdi>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
