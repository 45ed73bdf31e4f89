// The editor of each kind of label: another kind is one more line and one more file.
import type { KindName, Project } from "../types";
import { boxes } from "./boxes";
import { classes } from "./classes";
import type { Editor } from "./editor";
import { masks } from "./masks";
import { points } from "./points";
import { tags } from "./tags";
import { viewOnly } from "./view_only";

const EDITORS: Partial<Record<KindName, Editor>> = { boxes, classes, masks, points, tags };

export const editorOf = (project: Project): Editor => (project.editable && EDITORS[project.kind]) || viewOnly;
