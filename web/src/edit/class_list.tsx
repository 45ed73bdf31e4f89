// The classes with their keys, how likely the model finds each, and which are in the draft.
import { useEffect, useRef, useState } from "preact/hooks";
import { keysOf } from "../keys";
import { percent, shown } from "../text";
import type { Project, Says } from "../types";

interface Props {
  project: Project;
  says: Says[];
  guess: string[];
  count: (cls: string) => number;
  /** The class that objects drawn next will have; "" where the picture as a whole has classes. */
  current: string;
  choose: (cls: string) => void;
  finding: boolean;
  find: (open: boolean) => void;
}

/** Above this many, classes are found by name rather than looked for. */
const FEW = 12;

export function ClassList(props: Props) {
  const { project, says, finding, find } = props;
  const sure = new Map(says.map((one) => [one.class, one.probability]));
  const many = project.classes.length > FEW;
  return (
    <section aria-label="Classes">
      {many && (
        <button type="button" class="wide" onClick={() => find(!finding)} aria-expanded={finding}>
          Find among {project.classes.length} classes <kbd>/</kbd>
        </button>
      )}
      {finding && <Finder classes={project.classes} choose={props.choose} close={() => find(false)} />}
      {many && says.length > 0 && (
        <ul class="classes" aria-label="Likeliest classes">
          {says.slice(0, 5).map((one) => (
            <OneClass key={one.class} {...props} cls={one.class} sure={one.probability} />
          ))}
        </ul>
      )}
      <ul class={many ? "classes small" : "classes"} aria-label="All classes">
        {project.classes.map((cls) => (
          <OneClass key={cls} {...props} cls={cls} sure={many ? undefined : sure.get(cls)} />
        ))}
      </ul>
    </section>
  );
}

function OneClass({ project, cls, sure, guess, count, current, choose }: Props & { cls: string; sure?: number }) {
  const place = project.classes.indexOf(cls);
  const there = count(cls);
  const name = shown(cls);
  return (
    <li>
      <button
        type="button"
        class={`class${there ? " on" : ""}${current === cls ? " current" : ""}`}
        aria-pressed={there > 0}
        title={name}
        onClick={(event) => {
          event.currentTarget.blur(); // Enter must send, and not press this button again
          choose(cls);
        }}
      >
        {sure !== undefined && <span class="bar" style={{ width: `${Math.max(1, 100 * sure)}%` }} />}
        <kbd>{keysOf(project.classes)[place]}</kbd>
        <span class="swatch" style={{ background: project.colours[place] }} />
        <bdi class="cut">{name}</bdi>
        {guess.includes(cls) && <small class="mark">guess</small>}
        {there > 0 && <small class="mark">{there > 1 ? `× ${there}` : "✓"}</small>}
        {sure !== undefined && <small>{percent(sure)}</small>}
      </button>
    </li>
  );
}

function Finder({ classes, choose, close }: { classes: string[]; choose: (cls: string) => void; close: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const wanted = text.toLocaleLowerCase();
  const found = classes.filter((one) => one.toLocaleLowerCase().includes(wanted)).slice(0, 12);
  const press = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (event.key === "Enter" && found[at]) {
      close();
      choose(found[at]);
    } else return;
    event.preventDefault();
    event.stopPropagation(); // it was meant for the list, not for the picture
  };
  return (
    <div class="finder">
      <input
        ref={field}
        role="combobox"
        aria-label="Name of a class"
        aria-expanded
        aria-controls="found-classes"
        aria-activedescendant={found[at] ? `found-${at}` : undefined}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={press}
      />
      <ul id="found-classes" role="listbox" aria-label="Classes found">
        {found.map((cls, place) => (
          <li
            key={cls}
            id={`found-${place}`}
            role="option"
            aria-selected={place === at}
            class={place === at ? "at" : ""}
            onClick={() => {
              close();
              choose(cls);
            }}
          >
            <bdi>{shown(cls)}</bdi>
          </li>
        ))}
      </ul>
      {!found.length && <p class="hint">No class has this in its name.</p>}
    </div>
  );
}
