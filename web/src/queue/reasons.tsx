// Why a picture was asked: in words, and by the labelled pictures that are most like it.
import { picture } from "../api";
import { lastPart, shown } from "../text";

export function Why({ lines }: { lines: string[] }) {
  if (!lines.length) return null;
  return (
    <section>
      <h2>Why it is asked</h2>
      <ul class="why">
        {lines.map((line, at) => (
          <li key={at}>
            <bdi>{shown(line)}</bdi>
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Neighbours({ near }: { near: { id: string; label: string }[] }) {
  if (!near.length) return null;
  return (
    <section>
      <h2>Labelled pictures most like it</h2>
      <ul class="near">
        {near.map((one) => (
          <li key={one.id} title={shown(one.id)}>
            <img src={picture(one.id, 96)} alt={lastPart(one.id)} loading="lazy" />
            <bdi class="cut">{shown(one.label)}</bdi>
          </li>
        ))}
      </ul>
    </section>
  );
}
