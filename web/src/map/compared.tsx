// What was looped beside all images: which groups of the present colouring it holds more of, and which less.
import { useMemo } from "preact/hooks";
import { percent, number } from "../text";
import type { Grouping } from "./groups";
import { Shape } from "./shape";

/** Groups that are shown. */
const MOST = 8;

export function Compared({ which, grouping }: { which: number[]; grouping: Grouping }) {
  const rows = useMemo(() => {
    const inside = new Array<number>(grouping.groups.length).fill(0);
    for (const at of which) inside[grouping.of[at]]++;
    const all = grouping.of.length;
    return grouping.groups
      .map((group, at) => ({ group, count: inside[at], share: inside[at] / which.length, usual: group.count / all }))
      .filter((row) => row.group.count > 0)
      .sort((one, other) => Math.abs(other.share - other.usual) - Math.abs(one.share - one.usual))
      .slice(0, MOST);
  }, [which, grouping]);
  return (
    <table class="compared">
      <caption>Here, and of all images</caption>
      <tbody>
        {rows.map(({ group, count, share, usual }) => (
          <tr key={group.name}>
            <th scope="row">
              <Shape shape={group.shape} colour={group.colour} /> <bdi>{group.name}</bdi>
            </th>
            <td>{number(count)}</td>
            <td>{percent(share)}</td>
            <td>
              <small>of all {percent(usual)}</small>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
