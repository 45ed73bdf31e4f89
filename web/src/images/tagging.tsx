// Tags of an image, or of many: put by a word, taken off by a press.
import { useState } from "preact/hooks";
import { api, Refused } from "../api";
import { projectSoon } from "../project";
import { number, plural, shown } from "../text";
import type { Marked, Project } from "../types";

interface Props {
  project: Project;
  which: Marked;
  /** The tags of the one image; undefined for many. */
  tags?: string[];
  changed: () => void;
}

export function Tagging({ project, which, tags, changed }: Props) {
  const [word, setWord] = useState("");
  const [said, say] = useState("");
  const put = async (tag: string, on: boolean) => {
    try {
      const { done, left } = await api.tag(which, tag, on);
      const rest = left ? `; ${number(left)} ${on ? "had it already" : "did not have it"}` : "";
      say(tags ? "" : `${on ? "tagged" : "took the tag off"} ${plural(done, "image")}${rest}`);
      if (on) setWord("");
      projectSoon();
      changed();
    } catch (error) {
      say(error instanceof Refused ? error.message : String(error));
    }
  };
  return (
    <form
      class="tagging"
      onSubmit={(event) => {
        event.preventDefault();
        if (word.trim()) void put(word, true);
      }}
    >
      {(tags ?? []).map((tag) => (
        <button key={tag} type="button" class="chip" aria-label={`Take the tag ${shown(tag)} off`} onClick={() => void put(tag, false)}>
          #<bdi>{shown(tag)}</bdi> <span aria-hidden="true">×</span>
        </button>
      ))}
      <input aria-label="Tag" placeholder="tag" list="known-tags" maxLength={50} value={word} onInput={(event) => setWord(event.currentTarget.value)} />
      <datalist id="known-tags">
        {project.tags.map((tag) => (
          <option key={tag} value={tag} />
        ))}
      </datalist>
      <button disabled={!word.trim()}>Tag</button>
      {!tags && (
        <button type="button" disabled={!word.trim()} onClick={() => void put(word, false)}>
          Take off
        </button>
      )}
      <span role="status">{said}</span>
    </form>
  );
}
