// The table of a study, in the words of its report.
import { shown } from "../text";
import type { StudyAbout, StudyRow } from "../types";

export function Table({ about, rows, metric }: { about: StudyAbout; rows: StudyRow[]; metric: string }) {
  return (
    <table class="compared">
      <thead>
        <tr>
          <th scope="col">strategy</th>
          <th scope="col">{shown(metric)} at the end</th>
          <th scope="col">mean of the curve</th>
          <th scope="col">against the baseline</th>
          <th scope="col">p, corrected</th>
          <th scope="col">runs finished</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.strategy}>
            <th scope="row">
              <span class="swatch" style={{ background: about.strategies.find((one) => one.name === row.strategy)?.colour }} />
              <bdi>{shown(row.strategy)}</bdi>
            </th>
            <td>{row.final}</td>
            <td>{row.area}</td>
            <td>{row.against}</td>
            <td>{row.p}</td>
            <td>{row.runs}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
