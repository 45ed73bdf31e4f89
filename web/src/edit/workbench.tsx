// A picture, its draft and the keys that change it: the same for the queue and for a picture opened from the list.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { drawn, picture } from "../api";
import { Stage } from "../draw/stage";
import { isTyping, placeOf } from "../keys";
import { inWords, shown } from "../text";
import type { Project, Raw, Says, Size } from "../types";
import { ClassList } from "./class_list";
import type { Context, Draft, Step } from "./draft";
import type { Editor } from "./editor";
import { editorOf } from "./index";

export interface Subject {
  id: string;
  /** The picture it is, or lies in: then only a region of it is asked about. */
  image: string;
  /** null where the file cannot be read: it can still be skipped. */
  size: Size | null;
  guess: Raw | null;
  says: Says[];
  /** What is there already: it is what the draft begins as. */
  label: Raw | null;
}

interface Props {
  project: Project;
  subject: Subject;
  url: string;
  drafts: Map<string, Draft[]>;
  answer: (label: Raw) => void;
  /** Keys that mean nothing to the editor. */
  otherwise: (event: KeyboardEvent) => boolean;
  above?: ComponentChildren;
  below?: ComponentChildren;
}

/** Steps that can be taken back within one picture. */
const STEPS = 200;
const UNKNOWN: Size = [1000, 750];

export function Workbench({ project, subject, url, drafts, answer, otherwise, above, below }: Props) {
  const editor = editorOf(project);
  const size = subject.size ?? UNKNOWN;
  const [, redraw] = useState(0);
  const [said, say] = useState("");
  const [finding, find] = useState(false);
  const asked = useRef("");
  const px = useRef(1);
  useLayoutEffect(() => {
    say("");
    find(false);
    asked.current = "";
  }, [subject.id]);

  const begun = useMemo(() => editor.begin(project, subject.label ?? subject.guess, subject.label === null && subject.guess !== null), [subject, project]);
  const steps = drafts.get(subject.id) ?? [begun];
  const draft = steps[steps.length - 1];

  const set = (next: Draft, step = true) => {
    const before = drafts.get(subject.id) ?? [begun];
    drafts.set(subject.id, [...(step ? before.slice(-STEPS) : before.slice(0, -1)), next]);
    asked.current = "";
    say("");
    redraw((n) => n + 1);
  };
  const context = (): Context => ({ id: subject.id, part: subject.image !== subject.id, project, draft: (drafts.get(subject.id) ?? [begun]).slice(-1)[0], size, px: px.current, set });

  const send = (from: Draft) => {
    const done = editor.finish(project, from, size);
    if ("wait" in done) return say(done.wait);
    if (done.ask && asked.current !== done.ask) {
      asked.current = done.ask;
      return say(done.ask);
    }
    drafts.delete(subject.id);
    answer(done.label);
  };
  const take = (step: Step) => {
    if (step.send) return send(step.draft);
    if (step.draft !== draft) set(step.draft);
  };
  const back = () => {
    const before = drafts.get(subject.id) ?? [];
    if (before.length > 1) drafts.set(subject.id, before.slice(0, -1));
    else drafts.delete(subject.id);
    redraw((n) => n + 1);
  };

  const press = (event: KeyboardEvent): boolean => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      back();
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.key === "Tab") return false;
    const step = editor.key?.(context(), event);
    if (step) {
      take(step);
      return true;
    }
    if (event.altKey) return false;
    if (event.key === "Enter") {
      send(context().draft);
      return true;
    }
    if (event.key === "/") {
      find(true);
      return true;
    }
    const place = placeOf(event.key, project.classes);
    if (place >= 0 && !event.shiftKey) {
      take(editor.name(context(), project.classes[place]));
      return true;
    }
    return otherwise(event);
  };
  useKeys(press);

  const what = inShort(editor, project, draft, size);
  const sends = `${draft.guessed && draft === begun ? "Accept" : "Send"} ${what}`;
  const Panel = editor.Panel;
  const Layer = editor.Layer;
  const Overlay = editor.Overlay;
  const objects = Boolean(Layer);
  const serverDrawn = editor.drawnByServer === true;
  return (
    <div class="workbench">
      <Stage
        id={subject.id}
        url={serverDrawn && subject.guess ? drawn(subject.id, 1280, subject.label ? "label" : "guess") : url}
        sharper={serverDrawn ? undefined : picture(subject.id, 2560)}
        size={size}
        alt={`${shown(subject.id)}: ${inWords(subject.label ?? subject.guess, project.noun)}${subject.label ? "" : " (guess)"}`}
        down={editor.down && ((x, y, at, event) => editor.down?.({ ...context(), px: at }, x, y, event) ?? null)}
        layer={(at) => {
          px.current = at;
          return Layer && <Layer context={{ ...context(), px: at }} />;
        }}
        overlay={Overlay && ((place) => <Overlay key={subject.id} context={context()} place={place} />)}
      />
      <div class="side">
        {above}
        <p class="said" role="status">
          {said}
        </p>
        {!serverDrawn && (
          <ClassList
            project={project}
            says={subject.says}
            guess={guessed(subject.guess)}
            count={(cls) => editor.count(draft, cls)}
            current={objects ? draft.cls : ""}
            choose={(cls) => take(editor.name(context(), cls))}
            finding={finding}
            find={find}
          />
        )}
        {Panel && <Panel context={context()} />}
        {below}
        <button type="button" class="primary wide" onClick={() => send(context().draft)}>
          <bdi class="cut">{sends}</bdi> <kbd>Enter</kbd>
        </button>
      </div>
    </div>
  );
}

/** What Enter would send, in a few words; "" for nothing. */
function inShort(editor: Editor, project: Project, draft: Draft, size: Size): string {
  if (editor.words) return editor.words(project, draft);
  const done = editor.finish(project, draft, size);
  return "wait" in done ? "" : inWords(done.label, project.noun);
}

/** The classes that the model would answer with, where the answer is one of classes. */
function guessed(guess: Raw | null): string[] {
  if (typeof guess === "string") return [guess];
  return Array.isArray(guess) ? guess : [];
}

/** One listener for the whole page: a key means the same wherever the focus is, but where somebody writes. */
function useKeys(press: (event: KeyboardEvent) => boolean): void {
  const now = useRef(press);
  now.current = press;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isTyping(event) || document.querySelector("dialog[open].over")) return;
      if (now.current(event)) event.preventDefault();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}
