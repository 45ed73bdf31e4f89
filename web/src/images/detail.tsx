// One image opened: its label beside what the model thinks and what it was before, and the same editors as the queue has.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, drawn, picture, Refused } from "../api";
import { give, listen, outbox } from "../answering";
import type { Draft } from "../edit/draft";
import { isWords, labelOf } from "../guess";
import { Workbench } from "../edit/workbench";
import { Why } from "../queue/reasons";
import { Stopwatch } from "../stopwatch";
import { to } from "../router";
import { duration, inWords, lastPart, percent, score, shown } from "../text";
import type { Item, Project } from "../types";
import { Tagging } from "./tagging";
import { STATES } from "./tile";

interface Props {
  project: Project;
  id: string;
  close: () => void;
  /** To the image before (-1) or after (1) in the list it was opened from. */
  step?: (by: number) => void;
}

export function Detail({ project, id, close, step }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [item, setItem] = useState<Item | null>(null);
  const [trouble, setTrouble] = useState("");
  const [editing, edit] = useState(false);
  const [fresh, refresh] = useState(0);
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  }, []);
  useEffect(() => {
    let here = true;
    api.item(id).then(
      (one) => {
        if (!here) return;
        setItem(one);
        setTrouble("");
      },
      (error) => here && setTrouble(error instanceof Refused ? error.message : String(error)),
    );
    return () => void (here = false);
  }, [id, fresh]);
  useEffect(() => edit(false), [id]);
  useEffect(() => listen((answer) => answer.id === id && refresh(Date.now())), [id]);

  const takeBack = async () => {
    try {
      await outbox().settled(id);
      if (!outbox().drop(id)) await api.takeback(id);
      refresh(Date.now());
    } catch (error) {
      setTrouble(error instanceof Refused ? error.message : String(error));
    }
  };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (editing || !step || (event.target as HTMLElement).matches?.("input, select")) return;
      if (event.key === "ArrowRight") step(1);
      else if (event.key === "ArrowLeft") step(-1);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });

  return (
    <dialog ref={dialog} class="detail" aria-labelledby="detail-title" onClose={close}>
      <header>
        <h2 id="detail-title" title={shown(id)}>
          <bdi>{shown(id)}</bdi>
        </h2>
        {step && (
          <>
            <button type="button" aria-label="Image before" onClick={() => step(-1)}>
              ‹
            </button>
            <button type="button" aria-label="Next image" onClick={() => step(1)}>
              ›
            </button>
          </>
        )}
        <button type="button" aria-label="Close" onClick={() => dialog.current?.close()}>
          ×
        </button>
      </header>
      {trouble && (
        <p role="alert" class="trouble">
          {trouble}
        </p>
      )}
      {item && item.id === id && !editing && (
        <Facts project={project} item={item} fresh={fresh} refresh={() => refresh(Date.now())} close={() => dialog.current?.close()} edit={() => edit(true)} takeBack={() => void takeBack()} />
      )}
      {item && item.id === id && editing && <Editing project={project} item={item} done={() => edit(false)} />}
    </dialog>
  );
}

interface FactsProps {
  project: Project;
  item: Item;
  fresh: number;
  refresh: () => void;
  close: () => void;
  edit: () => void;
  takeBack: () => void;
}

function Facts({ project, item, fresh, refresh, close, edit, takeBack }: FactsProps) {
  const given = item.label !== null;
  const shows: [string, string][] = !isWords(project.kind)
    ? [...(given ? [["Label", drawn(item.id, 1280, "label", fresh)] as [string, string]] : []), ...(item.before != null ? [["Before the last correction", drawn(item.id, 1280, "before", fresh)] as [string, string]] : []), ...(item.guess !== null ? [["What the model thinks", drawn(item.id, 1280, "guess", fresh)] as [string, string]] : [])]
    : [];
  if (!shows.length) shows.push(["Picture", picture(item.id, 1280)]);
  return (
    <div class="facts">
      <div class="views">
        {shows.map(([word, url]) => (
          <figure key={word}>
            <img src={url} alt={`${word} of ${lastPart(item.id)}`} />
            <figcaption>{word}</figcaption>
          </figure>
        ))}
      </div>
      <div class="side">
        <dl>
          <dt>State</dt>
          <dd>
            {STATES[item.state]?.join(" ") ?? item.state}
            {item.round !== null && `, round ${item.round}`}
            {item.rank !== null && `, rank ${item.rank + 1}`}
            {item.score !== null && `, score ${score(item.score)}`}
          </dd>
          <dt>Label</dt>
          <dd dir="auto">{inWords(item.label, project.noun)}</dd>
          {item.before != null && (
            <>
              <dt>Before the last correction</dt>
              <dd dir="auto">{inWords(item.before, project.noun)}</dd>
            </>
          )}
          <dt>The model thinks</dt>
          <dd dir="auto">{inWords(labelOf(item.guess, project.kind), project.noun)}</dd>
          {item.labels.length > 1 &&
            item.labels.map((one) => (
              <>
                <dt>{shown(one.annotator) || "somebody"} says</dt>
                <dd dir="auto">{inWords(one.label, project.noun)}</dd>
              </>
            ))}
          {item.cost?.seconds !== undefined && (
            <>
              <dt>Time</dt>
              <dd>{duration(item.cost.seconds)}</dd>
            </>
          )}
          {item.reason && (
            <>
              <dt>Skipped because</dt>
              <dd dir="auto">{shown(item.reason)}</dd>
            </>
          )}
          {item.wrong && (
            <>
              <dt>The label looks wrong</dt>
              <dd dir="auto">{shown(item.wrong)}</dd>
            </>
          )}
          <dt>Size</dt>
          <dd>{item.size ? `${item.size[0]} × ${item.size[1]} pixels` : "the file cannot be read"}</dd>
        </dl>
        {item.says.length > 0 && (
          <ul class="classes" aria-label="Probabilities">
            {item.says.slice(0, 5).map((one) => (
              <li key={one.class} class="class still">
                <span class="bar" style={{ width: `${Math.max(1, 100 * one.probability)}%` }} />
                <bdi class="cut">{shown(one.class)}</bdi>
                <small>{percent(one.probability)}</small>
              </li>
            ))}
          </ul>
        )}
        <div class="buttons">
          <button type="button" class="primary" onClick={edit}>
            {given ? "Correct" : "Label"}
          </button>
          {(given || item.state === "skipped") && (
            <button type="button" onClick={takeBack}>
              Take back
            </button>
          )}
        </div>
        <p>
          <a href={to("images", { like: item.id })} onClick={close}>
            More like this
          </a>
        </p>
        <Tagging project={project} which={{ ids: [item.id] }} tags={item.tags} changed={refresh} />
        <Why lines={item.why} />
      </div>
    </div>
  );
}

function Editing({ project, item, done }: { project: Project; item: Item; done: () => void }) {
  const [drafts] = useState(() => new Map<string, Draft[]>());
  const [watch] = useState(() => new Stopwatch());
  const subject = useMemo(() => ({ id: item.id, image: item.image, size: item.size, guess: labelOf(item.guess, project.kind), says: item.says, label: item.label }), [item]);
  const finish = (label: Parameters<typeof give>[1]) => {
    give(item.id, label, watch.seconds());
    done();
  };
  return (
    <Workbench
      project={project}
      subject={subject}
      url={picture(item.image, 1280)}
      drafts={drafts}
      answer={finish}
      otherwise={(event) => {
        if (event.key.toLowerCase() !== "s" || event.altKey) return false;
        finish(null);
        return true;
      }}
      below={
        <div class="buttons">
          <button type="button" onClick={() => finish(null)}>
            Skip <kbd>S</kbd>
          </button>
          <button type="button" onClick={done}>
            Leave as it is
          </button>
        </div>
      }
    />
  );
}
