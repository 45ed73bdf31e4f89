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
const GROUND = { width: WIDTH, height: HEIGHT, left: LEFT, right: RIGHT, bottom: BOTTOM };

/** Round numbers between two others, some five of them. */
function ticks(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const found: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) found.push(Number((at * step).toPrecision(10)));
  return found;
}

/** The size of a chart, and the room around its curves, in units of its SVG. */
export interface Ground {
  width: number;
  height: number;
  left: number;
  right: number;
  bottom: number;
}

interface AxesProps {
  ground: Ground;
  /** What lies along the lower axis. */
  x: string;
  px: (value: number) => number;
  py: (value: number) => number;
  xs: [number, number];
  ys: [number, number];
}

/** Lines and numbers that curves are read against. */
export function Axes({ ground: { width, height, left, right, bottom }, x, px, py, xs, ys }: AxesProps) {
  return (
    <>
      {ticks(...ys).map((value) => (
        <g key={value}>
          <line class="grid" x1={left} x2={width - right} y1={py(value)} y2={py(value)} />
          <text x={left - 8} y={py(value) + 4} text-anchor="end">
            {score(value)}
          </text>
        </g>
      ))}
      {ticks(...xs).map((value) => (
        <text key={value} x={px(value)} y={height - bottom + 18} text-anchor="middle">
          {score(value)}
        </text>
      ))}
      <line class="axis" x1={left} x2={width - right} y1={height - bottom} y2={height - bottom} />
      <text class="axis" x={(left + width - right) / 2} y={height - 4} text-anchor="middle">
        {x}
      </text>
    </>
  );
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
        <Axes ground={GROUND} x={x} px={px} py={py} xs={[x1, x2]} ys={[y1, y2]} />
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
