// One curve as SVG, and the same as a table for those who read it otherwise.
import { score } from "../text";

export interface Place {
  x: number;
  y: number;
  words: string;
}

interface Props {
  title: string;
  x: string;
  y: string;
  places: Place[];
}

const [WIDTH, HEIGHT] = [520, 260];
const [LEFT, RIGHT, TOP, BOTTOM] = [54, 14, 12, 40];

/** Round numbers between two others, some five of them. */
export function ticks(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const found: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) found.push(Number((at * step).toPrecision(10)));
  return found;
}

export function Chart({ title, x, y, places }: Props) {
  if (!places.length) return null;
  const xs = places.map((one) => one.x);
  const ys = places.map((one) => one.y);
  const [x1, x2] = [Math.min(0, ...xs), Math.max(...xs) || 1];
  const pad = (Math.max(...ys) - Math.min(...ys)) * 0.1 || 0.05;
  const [y1, y2] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  const px = (value: number) => LEFT + ((value - x1) / (x2 - x1)) * (WIDTH - LEFT - RIGHT);
  const py = (value: number) => HEIGHT - BOTTOM - ((value - y1) / (y2 - y1)) * (HEIGHT - TOP - BOTTOM);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}: ${places.map((one) => one.words).join("; ")}`}>
        {ticks(y1, y2).map((value) => (
          <g key={value}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={py(value)} y2={py(value)} />
            <text x={LEFT - 8} y={py(value) + 4} text-anchor="end">
              {score(value)}
            </text>
          </g>
        ))}
        {ticks(x1, x2).map((value) => (
          <text key={value} x={px(value)} y={HEIGHT - BOTTOM + 18} text-anchor="middle">
            {score(value)}
          </text>
        ))}
        <line class="axis" x1={LEFT} x2={WIDTH - RIGHT} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM} />
        <text class="axis" x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 4} text-anchor="middle">
          {x}
        </text>
        <polyline points={places.map((one) => `${px(one.x)},${py(one.y)}`).join(" ")} />
        {places.map((one, at) => (
          <circle key={at} cx={px(one.x)} cy={py(one.y)} r="4">
            <title>{one.words}</title>
          </circle>
        ))}
      </svg>
      <details>
        <summary>As a table</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">{x}</th>
              <th scope="col">{y}</th>
            </tr>
          </thead>
          <tbody>
            {places.map((one, at) => (
              <tr key={at}>
                <td>{score(one.x)}</td>
                <td>{score(one.y)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}
