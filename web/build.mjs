// Builds the page into the package: a script and an HTML file each for projects and studies, one style sheet and what the licences of others ask for.
// The bundle is committed, so that people who use labelwise need no Node; its first line holds a digest of the source, so
// that a test without Node can tell whether the two belong together.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const into = process.argv[2] ?? join(here, "../src/labelwise/serve/static");
const single = ["build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json"];

/** Every file that decides what the bundle is, by its path below this folder, sorted as the test sorts them. */
function sources() {
  const found = readdirSync(join(here, "src"), { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath ?? one.path, one.name).slice(here.length + 1).replaceAll("\\", "/"));
  return [...single, ...found].sort((a, b) => (a < b ? -1 : 1));
}

/** SHA-256 over path, length and content of each source file; a checkout that changes ends of lines makes no other. */
function digest() {
  const hash = createHash("sha256");
  for (const path of sources()) {
    const content = Buffer.from(readFileSync(join(here, path), "latin1").replaceAll("\r\n", "\n"), "latin1");
    hash.update(`${path}\n${content.length}\n`);
    hash.update(content);
  }
  return hash.digest("hex");
}

const header = `/* The page of labelwise; see NOTICES.txt for what it contains of others. source sha256:${digest()} */`;
const made = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx", study: "src/study.tsx", style: "src/style/app.css" },
  bundle: true,
  minify: true,
  charset: "ascii", // so that no encoding of any server or file system can change it
  format: "esm",
  target: ["es2022"],
  legalComments: "none", // NOTICES.txt has them whole
  jsx: "automatic",
  jsxImportSource: "preact",
  outdir: "out",
  write: false,
});
const text = (end) => `${header}\n${made.outputFiles.find((one) => one.path.endsWith(end)).text}`;
const js = text("app.js");
const study = text("study.js");
const css = text("style.css");
// the server writes what they hold behind the names of the two others, so that a browser may keep them for ever
const html = readFileSync(join(here, "index.html"), "utf8");
const licence = (of) => `The page contains ${of}, under this licence:\n\n${readFileSync(join(here, `node_modules/${of}/LICENSE`), "utf8")}`;

mkdirSync(into, { recursive: true });
writeFileSync(join(into, "app.js"), js);
writeFileSync(join(into, "study.js"), study);
writeFileSync(join(into, "app.css"), css);
writeFileSync(join(into, "index.html"), html);
writeFileSync(join(into, "study.html"), html.replace("/assets/app.js", "/assets/study.js"));
writeFileSync(join(into, "NOTICES.txt"), ["preact", "fflate"].map(licence).join("\n\n"));
console.log(`app.js ${(js.length / 1000).toFixed(1)} kB, study.js ${(study.length / 1000).toFixed(1)} kB, app.css ${(css.length / 1000).toFixed(1)} kB into ${into}`);
