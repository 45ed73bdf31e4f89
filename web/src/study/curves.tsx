// Curves of several strategies with their intervals; each has a colour, a sign and its name in words.
import { Axes } from "../progress/chart";
import { score, shown } from "../text";
import type { StudyAbout, StudyCurves } from "../types";

const [WIDTH, HEIGHT] = [900, 380];
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 16, 12, 44];
const GROUND = { width: WIDTH, height: HEIGHT, left: LEFT, right: RIGHT, bottom: BOTTOM };
const SIGNS = ["●", "■", "▲", "◆", "▼", "✚", "✖", "○", "□", "△", "◇", "▽"];

export function Curves({ about, curves }: { about: StudyAbout; curves: StudyCurves }) {
  const lines = curves.lines.filter((one) => one.points.length);
  const all = lines.flatMap((one) => one.points);
  if (!all.length) return <p role="status">Nothing was measured.</p>;
  const xs = all.map((one) => one.x);
  const ys = [...all.flatMap((one) => [one.low ?? one.mean, one.high ?? one.mean]), ...(curves.full === null ? [] : [curves.full])];
  const [x1, x2] = [Math.min(...xs), Math.max(...xs)];
  const [y1, y2] = [Math.min(...ys), Math.max(...ys)];
  const px = (value: number) => LEFT + ((value - x1) / (x2 - x1 || 1)) * (WIDTH - LEFT - RIGHT);
  const py = (value: number) => HEIGHT - BOTTOM - ((value - y1) / (y2 - y1 || 1)) * (HEIGHT - TOP - BOTTOM);
  const colour = (name: string) => about.strategies.find((one) => one.name === name)?.colour ?? "currentColor";
  const sign = (name: string) => SIGNS[about.strategies.findIndex((one) => one.name === name) % SIGNS.length];
  return (
    <figure class="chart wide">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${curves.words} over ${curves.unit}; the numbers are in the table below it`}>
        <Axes ground={GROUND} x={shown(curves.unit)} px={px} py={py} xs={[x1, x2]} ys={[y1, y2]} />
        {curves.full !== null && (
          <line class="full" x1={LEFT} x2={WIDTH - RIGHT} y1={py(curves.full)} y2={py(curves.full)}>
            <title>all labels: {score(curves.full)}</title>
          </line>
        )}
        {lines.map(({ strategy, points }) => (
          <g key={strategy} style={{ color: colour(strategy) }} class="line">
            {points.every((one) => one.low !== null) && points.length > 1 && (
              <polygon points={[...points.map((one) => `${px(one.x)},${py(one.high as number)}`), ...[...points].reverse().map((one) => `${px(one.x)},${py(one.low as number)}`)].join(" ")} />
            )}
            <polyline points={points.map((one) => `${px(one.x)},${py(one.mean)}`).join(" ")} />
            {points.map((one) => (
              <text key={one.x} x={px(one.x)} y={py(one.mean) + 5} text-anchor="middle">
                {sign(strategy)}
                <title>{`${shown(strategy)}, ${score(one.x)} ${curves.unit}: ${score(one.mean)}${one.low === null ? "" : ` (${score(one.low)} to ${score(one.high)})`}, ${one.n} seeds`}</title>
              </text>
            ))}
          </g>
        ))}
      </svg>
      <figcaption>
        {shown(curves.words)} over {shown(curves.unit)}, mean over seeds; bands: 95 % t intervals.{" "}
        {lines.map(({ strategy }) => (
          <span key={strategy} class="key">
            <span style={{ color: colour(strategy) }}>{sign(strategy)}</span> <bdi>{shown(strategy)}</bdi>{" "}
          </span>
        ))}
      </figcaption>
      <details>
        <summary>As a table</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">strategy</th>
              <th scope="col">{shown(curves.unit)}</th>
              <th scope="col">{shown(curves.words)}</th>
              <th scope="col">95 % interval</th>
            </tr>
          </thead>
          <tbody>
            {lines.flatMap(({ strategy, points }) =>
              points.map((one) => (
                <tr key={`${strategy} ${one.x}`}>
                  <th scope="row">
                    <bdi>{shown(strategy)}</bdi>
                  </th>
                  <td>{score(one.x)}</td>
                  <td>{score(one.mean)}</td>
                  <td>{one.low === null ? "–" : `${score(one.low)} to ${score(one.high)}`}</td>
                </tr>
              )),
            )}
          </tbody>
        </table>
      </details>
    </figure>
  );
}
