// A name on the picture: white on the colour of its class, above its place or just inside of the picture.
const SIZE = 12;
const pen = document.createElement("canvas").getContext("2d");
const known = new Map<string, number>();

/** How wide a text is on the screen, in its pixels. */
function widthOf(text: string): number {
  let width = known.get(text);
  if (width === undefined) {
    if (pen) pen.font = `600 ${SIZE}px system-ui, sans-serif`;
    width = pen?.measureText(text).width ?? text.length * 7;
    known.set(text, width);
  }
  return width;
}

export function Tag({ x, y, px, colour, text }: { x: number; y: number; px: number; colour: string; text: string }) {
  const short = text.length > 24 ? `${text.slice(0, 23)}\u2026` : text;
  const [width, height] = [(widthOf(short) + 8) * px, (SIZE + 4) * px];
  const top = y - height < 0 ? y : y - height;
  return (
    <g class="tag">
      <rect x={x} y={top} width={width} height={height} fill={colour} />
      <text x={x + 4 * px} y={top + SIZE * px} font-size={SIZE * px}>
        {short}
      </text>
    </g>
  );
}
