// One image of the grid: its state in a word and a mark, its label, and how doubtful the model is.
import { picture } from "../api";
import { lastPart, percent, shown } from "../text";
import type { Tile as OneTile } from "../types";

export const STATES: Record<string, [string, string]> = {
  labelled: ["✓", "labelled"],
  pending: ["?", "waiting"],
  skipped: ["⤼", "skipped"],
  unlabelled: ["○", "not asked"],
};

export function Tile({ tile, words, open }: { tile: OneTile; words: boolean; open: () => void }) {
  const [mark, word] = STATES[tile.state] ?? ["", tile.state];
  const held = tile.split !== "pool";
  // a label of words is said in full; of others, how many objects there are
  const label = words && tile.classes.length ? tile.classes.map(shown).join(", ") : shown(tile.label);
  const predicted = tile.predicted.map(shown).join(", ");
  return (
    <li>
      <button type="button" class={`tile ${tile.state}`} title={shown(tile.id)} onClick={open}>
        <img src={picture(tile.id, 192)} alt="" loading="lazy" decoding="async" />
        <span class="line">
          <span class="state">
            <span aria-hidden="true">{mark}</span> {held ? `${tile.split}, ${word}` : word}
          </span>
          {tile.doubt !== null && <small title="How doubtful the model is">doubt {percent(tile.doubt)}</small>}
        </span>
        <bdi class="cut">{lastPart(tile.id)}</bdi>
        {label && (
          <b class="cut" dir="auto">
            {label}
          </b>
        )}
        {tile.wrong && (
          <small class="wrong">
            <span aria-hidden="true">!</span> <bdi>{shown(tile.wrong)}</bdi>
          </small>
        )}
        {tile.group !== null && <small>near-duplicates {tile.group}</small>}
        {tile.alike !== null && <small>similarity {tile.alike.toFixed(3)}</small>}
        {tile.tags.length > 0 && <small class="cut">{tile.tags.map((one) => `#${shown(one)}`).join(" ")}</small>}
        {predicted && predicted !== label && <small class="cut">predicted {predicted}</small>}
      </button>
    </li>
  );
}
