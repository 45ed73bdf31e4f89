// How far the project has come, and what is done next.
import { useEffect, useState } from "preact/hooks";
import { api, Refused } from "../api";
import { session } from "../queue/session";
import { Balance } from "../progress/balance";
import { Chart, type Place } from "../progress/chart";
import { JobLine, useJob } from "../progress/job";
import { Leaving } from "../progress/outgoing";
import { NextRound } from "../progress/next";
import { to } from "../router";
import { duration, number, score, shown } from "../text";
import type { Counts, Progress, Project, Strategies } from "../types";

export function ProgressView({ project }: { project: Project }) {
  const [progress, setProgress] = useState<Progress | null>(null);
  const [strategies, setStrategies] = useState<Strategies | null>(null);
  const [trouble, setTrouble] = useState("");
  const tell = (error: unknown) => setTrouble(error instanceof Refused ? error.message : String(error));
  const read = () => {
    api.progress().then(setProgress, tell);
    api.strategies().then(setStrategies, tell);
  };
  const { job, trouble: jobTrouble, act } = useJob(() => {
    read();
    void session().load(true); // a new round is there when somebody comes back to the queue
  });
  const counts = JSON.stringify(project.counts);
  useEffect(read, [counts]);
  const busy = Boolean(job?.running);
  return (
    <main class="progress">
      <h1 class="unseen">Progress</h1>
      {trouble && (
        <p role="alert" class="trouble">
          {shown(trouble)}
        </p>
      )}
      <Numbers counts={project.counts} progress={progress} />
      {strategies && (
        <NextRound
          strategies={strategies}
          pending={project.counts.pending}
          busy={busy}
          fit={() => void act(api.startJob({ what: "fit", count: null, strategy: null, more: false }))}
          suggest={(count, strategy, more) => void act(api.startJob({ what: "suggest", count, strategy, more }))}
        />
      )}
      <JobLine job={job} trouble={jobTrouble} stop={() => void act(api.stopJob())} />
      <Leaving
        fresh={job?.running ? "busy" : `${job?.what} ${job?.seconds} ${counts}`}
        busy={busy}
        pending={project.counts.pending}
        start={(work) => void act(api.startJob(work))}
        failed={tell}
      />
      {!busy && project.counts.pending > 0 && (
        <p>
          <a class="button" href={to("queue")}>
            Label what waits ({number(project.counts.pending)})
          </a>
        </p>
      )}
      {progress && <Curves progress={progress} />}
      {progress && <Balance classes={progress.classes} noun={project.noun} />}
    </main>
  );
}

function Numbers({ counts, progress }: { counts: Counts; progress: Progress | null }) {
  const cells: [string, string][] = [
    ["labelled", number(counts.labelled)],
    ["waiting", number(counts.pending)],
    ["skipped", number(counts.skipped)],
    ["not asked", number(counts.unlabelled)],
  ];
  const measured = progress?.curve.filter((one) => one.value !== null) ?? [];
  const last = measured[measured.length - 1];
  if (progress && last) cells.push([progress.metric, score(last.value)]);
  for (const [unit, value] of Object.entries(progress?.cost ?? {})) {
    if (unit !== "images") cells.push(unit === "seconds" ? ["labelling time", duration(value)] : [unit, number(value)]);
  }
  return (
    <>
      <dl class="numbers">
        {cells.map(([word, value]) => (
          <div key={word}>
            <dd>{value}</dd>
            <dt>{shown(word)}</dt>
          </div>
        ))}
      </dl>
      {progress && progress.notes.length > 0 && (
        <ul class="why">
          {progress.notes.map((note, at) => (
            <li key={at}>
              <bdi>{shown(note)}</bdi>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Curves({ progress }: { progress: Progress }) {
  const { metric, curve, tested } = progress;
  const measured = curve.filter((one) => one.value !== null);
  if (!measured.length) {
    return <p class="hint">There is no curve yet: it needs a held-out test set with labels, and a training.</p>;
  }
  const words = (labels: number, value: number) => `${number(labels)} labels: ${score(value)}`;
  const byLabels = measured.map((one): Place => ({ x: one.labels, y: one.value as number, words: words(one.labels, one.value as number) }));
  const bySeconds = measured.flatMap((one): Place[] => (one.seconds ? [{ x: one.seconds / 60, y: one.value as number, words: `${duration(one.seconds)}: ${score(one.value)}` }] : []));
  const of = tested ? `, on ${number(tested)} held-out images` : "";
  return (
    <section class="curves">
      <Chart title={`${shown(metric)} over labels${of}`} x="labels" y={metric} places={byLabels} />
      {bySeconds.length > 1 && <Chart title={`${shown(metric)} over labelling time`} x="minutes" y={metric} places={bySeconds} />}
      {!progress.higher_is_better && <p class="hint">Lower is better.</p>}
    </section>
  );
}
