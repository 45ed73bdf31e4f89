// How many labels each class has: bars with their numbers, the largest first.
import { number, shown } from "../text";

const FEW = 20;

export function Balance({ classes, noun }: { classes: { name: string; count: number }[]; noun: string }) {
  if (!classes.length) return null;
  const sorted = [...classes].sort((a, b) => b.count - a.count);
  const most = sorted[0].count || 1;
  const row = (one: { name: string; count: number }) => (
    <tr key={one.name}>
      <th scope="row" title={shown(one.name)}>
        <bdi class="cut">{shown(one.name)}</bdi>
      </th>
      <td class="track">
        <span style={{ width: `${(100 * one.count) / most}%` }} />
      </td>
      <td class="amount">{number(one.count)}</td>
    </tr>
  );
  return (
    <section>
      <h2>Labels of each class{noun === "box" || noun === "point" ? ", by object" : ""}</h2>
      <table class="balance">
        <tbody>{sorted.slice(0, FEW).map(row)}</tbody>
      </table>
      {sorted.length > FEW && (
        <details>
          <summary>{sorted.length - FEW} further classes</summary>
          <table class="balance">
            <tbody>{sorted.slice(FEW).map(row)}</tbody>
          </table>
        </details>
      )}
    </section>
  );
}
