// The shapes of the map, small, for its legend.
const PATHS = [
  "M6 1.5a4.5 4.5 0 1 0 .01 0Z",
  "M2 2h8v8H2Z",
  "M6 1.5 11 10.5H1Z",
  "M6 .5 11.5 6 6 11.5 .5 6Z",
  "M4.2 .5h3.6v3.7h3.7v3.6H7.8v3.7H4.2V7.8H.5V4.2h3.7Z",
  "M6 .8a5.2 5.2 0 1 0 .01 0ZM6 3.6a2.4 2.4 0 1 1-.01 0Z",
];

export function Shape({ shape, colour }: { shape: number; colour: string }) {
  return (
    <svg class="shape" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <path d={PATHS[shape] ?? PATHS[0]} fill={colour} fill-rule="evenodd" />
    </svg>
  );
}
