// What an editor of one kind of label has to offer. The workbench knows no kinds: it asks the editor.
import type { FunctionComponent } from "preact";
import type { Project, Raw, Size } from "../types";
import type { Context, Drag, Draft, Finished, Overlaid, Parts, Step } from "./draft";

export interface Editor {
  /** A draft from what is there: the label where there is one, what the model thinks otherwise. */
  begin: (project: Project, start: Raw | null, guessed: boolean) => Draft;
  finish: (project: Project, draft: Draft, size: Size) => Finished;
  /** What Enter would send, in a few words, where to finish it each time is too dear; "" for nothing. */
  words?: (project: Project, draft: Draft) => string;
  /** A class was named, by its key, by a click or by its name. */
  name: (context: Context, cls: string) => Step;
  /** How many times a class is in the draft: shown beside it. */
  count: (draft: Draft, cls: string) => number;
  /** Any other key; null where it means nothing here. */
  key?: (context: Context, event: KeyboardEvent) => Step | null;
  /** The mouse or a finger was pressed on the picture. */
  down?: (context: Context, x: number, y: number, event: PointerEvent) => Drag | null;
  /** Drawn over the picture, in its pixels (SVG). */
  Layer?: FunctionComponent<Parts>;
  /** Laid over the picture and below the mouse, as large as it is on the screen (HTML). */
  Overlay?: FunctionComponent<Overlaid>;
  /** Beside the picture, below the classes. */
  Panel?: FunctionComponent<Parts>;
  /** Whether the picture is shown as the server draws it, with the label in it. */
  drawnByServer?: boolean;
  /** Keys that only this kind has, for the page of keys. */
  keys: [string, string][];
}
