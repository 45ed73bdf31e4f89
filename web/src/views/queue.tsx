// The queue: one picture after the other, why it is asked, and an answer by a key.
import { useEffect, useMemo, useState } from "preact/hooks";
import { labelOf } from "../guess";
import { Workbench } from "../edit/workbench";
import { Neighbours, Why } from "../queue/reasons";
import { session } from "../queue/session";
import { Strip } from "../queue/strip";
import { to } from "../router";
import { useStore } from "../store";
import { inWords, lastPart, number, plural, score, shown } from "../text";
import type { Pick, Project } from "../types";

export function QueueView({ project }: { project: Project }) {
  const queue = session();
  useStore(queue.changes);
  const [said, say] = useState("");
  useEffect(() => {
    if (!queue.open) void queue.load(true);
  }, [queue]);
  const pick = queue.current;
  useEffect(() => say(""), [pick?.id]);
  const given = pick && queue.given.get(pick.id);
  const subject = useMemo(
    () => pick && { id: pick.id, image: pick.image, size: pick.size, guess: labelOf(pick.guess, project.kind), says: pick.says, label: given?.label ?? null },
    [pick, given?.label],
  );
  const back = () => void queue.takeBack().then(say);

  const otherwise = (event: KeyboardEvent): boolean => {
    const key = event.key.toLowerCase();
    if (event.altKey) return false;
    if (key === "s") queue.answer(null);
    else if (key === "z") back();
    else if (event.key === "ArrowRight" || event.key === "ArrowDown") queue.move(1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") queue.move(-1);
    else return false;
    return true;
  };

  if (!pick || !subject) return <Nothing project={project} back={back} />;
  return (
    <main class="queue">
      <Workbench
        project={project}
        subject={subject}
        url={queue.pictures.url(pick.image)}
        drafts={queue.drafts}
        answer={(label) => queue.answer(label)}
        otherwise={otherwise}
        above={<Head pick={pick} project={project} />}
        below={
          <>
            {said && (
              <p class="said" role="status">
                {said}
              </p>
            )}
            <Buttons back={back} />
            <Why lines={pick.why} />
            <Neighbours near={pick.neighbours} />
          </>
        }
      />
      <Strip queue={queue} />
    </main>
  );
}

function Head({ pick, project }: { pick: Pick; project: Project }) {
  const given = session().given.get(pick.id);
  const facts = [
    pick.rank !== null && `rank ${pick.rank + 1}`,
    pick.score !== null && `score ${score(pick.score)}`,
    pick.round !== null && `round ${pick.round}`,
    pick.strategy,
  ].filter(Boolean);
  return (
    <header class="subject">
      <h1 title={shown(pick.id)}>
        <bdi class="cut">{lastPart(pick.id)}</bdi>
      </h1>
      <p>{facts.join(" · ")}</p>
      {given && (
        <p class={`given ${given.state}`}>
          {given.label === null ? "Skipped" : `Answered: ${inWords(given.label, project.noun)}`}
          {given.state === "saved" ? ", saved." : given.state === "sending" ? ", not saved yet." : `; refused: ${given.why}`} Another answer corrects it.
        </p>
      )}
    </header>
  );
}

function Buttons({ back }: { back: () => void }) {
  const queue = session();
  return (
    <div class="buttons">
      <button type="button" onClick={() => queue.answer(null)}>
        Skip <kbd>S</kbd>
      </button>
      <button type="button" onClick={back}>
        Take back <kbd>Z</kbd>
      </button>
      <button type="button" aria-label="Picture before" title="Picture before (left)" onClick={() => queue.move(-1)}>
        ‹
      </button>
      <button type="button" aria-label="Next picture" title="Next picture (right)" onClick={() => queue.move(1)}>
        ›
      </button>
    </div>
  );
}

function Nothing({ project, back }: { project: Project; back: () => void }) {
  const queue = session();
  const answered = queue.given.size;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() === "z" && !event.ctrlKey && !(event.target as HTMLElement).matches?.("input, textarea, select")) back();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });
  if (queue.loading) return <main class="empty"><p role="status">Reading the queue …</p></main>;
  return (
    <main class="empty">
      <h1>{queue.error ? "The queue cannot be read" : queue.total ? "Nothing is left for you just now" : answered ? "All of it is answered" : "Nothing waits for a label"}</h1>
      {queue.error && <p role="alert">{queue.error}</p>}
      <p>
        {number(project.counts.labelled)} labelled, {number(project.counts.unlabelled)} not yet asked
        .{queue.total > 0 && ` ${plural(queue.total, "picture")} more ${queue.total === 1 ? "waits" : "wait"}, and somebody else is at work on ${queue.total === 1 ? "it" : "them"} or was in the last ten minutes.`}
      </p>
      <div class="buttons">
        <a class="button primary" href={to("progress")}>
          Choose what to label next
        </a>
        <button type="button" onClick={() => void queue.load(true)}>
          Look again
        </button>
        {answered > 0 && (
          <button type="button" onClick={back}>
            Take back <kbd>Z</kbd>
          </button>
        )}
      </div>
    </main>
  );
}
