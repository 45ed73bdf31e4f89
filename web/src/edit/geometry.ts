// Boxes by their numbers, turned ones too. An angle is in degrees, clockwise on the screen, about the middle of the box.
import type { Box, Size, Thing } from "../types";
import { clamp, round } from "./draft";

export type Handle = "nw" | "n" | "ne" | "e" | "se" | "s" | "sw" | "w";
export const HANDLES: Handle[] = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

export const middle = ([x1, y1, x2, y2]: Box): [number, number] => [(x1 + x2) / 2, (y1 + y2) / 2];
export const area = ([x1, y1, x2, y2]: Box): number => (x2 - x1) * (y2 - y1);

/** A place turned about another, by degrees. */
export function turned(x: number, y: number, [cx, cy]: [number, number], degrees: number): [number, number] {
  const angle = (degrees * Math.PI) / 180;
  const [dx, dy] = [x - cx, y - cy];
  return [cx + dx * Math.cos(angle) - dy * Math.sin(angle), cy + dx * Math.sin(angle) + dy * Math.cos(angle)];
}

/** A place as a box sees it that is turned. */
export const inBox = (thing: Thing, x: number, y: number): [number, number] =>
  thing.box && thing.angle ? turned(x, y, middle(thing.box), -thing.angle) : [x, y];

/** Where a handle sits on a box that is not turned. */
export function place([x1, y1, x2, y2]: Box, handle: Handle): [number, number] {
  const x = handle.includes("w") ? x1 : handle.includes("e") ? x2 : (x1 + x2) / 2;
  const y = handle.includes("n") ? y1 : handle.includes("s") ? y2 : (y1 + y2) / 2;
  return [x, y];
}

/** A box with its corners in order, inside of the picture, to a tenth of a pixel. */
export function tidy([x1, y1, x2, y2]: Box, [width, height]: Size): Box {
  const [left, right] = [Math.min(x1, x2), Math.max(x1, x2)].map((x) => round(clamp(x, 0, width)));
  const [top, bottom] = [Math.min(y1, y2), Math.max(y1, y2)].map((y) => round(clamp(y, 0, height)));
  return [left, top, right, bottom];
}

/** A box moved as a whole: it stops at the border and keeps its size. */
export function moved([x1, y1, x2, y2]: Box, dx: number, dy: number, [width, height]: Size): Box {
  const x = clamp(dx, Math.min(0, -x1), Math.max(0, width - x2));
  const y = clamp(dy, Math.min(0, -y1), Math.max(0, height - y2));
  return [round(x1 + x), round(y1 + y), round(x2 + x), round(y2 + y)];
}

/** A box with a handle pulled to a place (as the box sees it); what is opposite stays where it is, turned boxes too. */
export function pulled(thing: Thing, box: Box, handle: Handle, x: number, y: number, size: Size): Box {
  let [x1, y1, x2, y2] = box;
  if (handle.includes("w")) x1 = x;
  if (handle.includes("e")) x2 = x;
  if (handle.includes("n")) y1 = y;
  if (handle.includes("s")) y2 = y;
  if (!thing.angle) return tidy([x1, y1, x2, y2], size);
  // the middle moves with the handle, and the box turns about its middle: seen from outside the new middle lies elsewhere
  const [cx, cy] = turned((x1 + x2) / 2, (y1 + y2) / 2, middle(box), thing.angle);
  const [w, h] = [Math.abs(x2 - x1) / 2, Math.abs(y2 - y1) / 2];
  return [round(cx - w), round(cy - h), round(cx + w), round(cy + h)];
}

/** Whether a place lies in a box. */
export function within(thing: Thing, x: number, y: number): boolean {
  if (!thing.box) return false;
  const [px, py] = inBox(thing, x, y);
  const [x1, y1, x2, y2] = thing.box;
  return px >= x1 && px <= x2 && py >= y1 && py <= y2;
}
