"""Draws training.png: the gap of the two class heads beside the detection loss, over the training of the last round."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
LINES = (("centre", "detection loss on images with labels", "C0"), ("told gap", "gap D on images without", "C3"))

study = json.loads((HERE / "study.json").read_text(encoding="utf-8"))
figure, left = plt.subplots(figsize=(7, 3.4), layout="constrained")
right = left.twinx()
for run in study["runs"]:
    if run["strategy"] == "random with mi_aod":
        for axis, (part, name, colour) in zip((left, right), LINES, strict=True):
            values = run["rounds"][-1]["parts"][part]
            cycles = ([v for v in values if v[0] < 0.5], [v for v in values if v[0] > 0.5])
            for number, cycle in enumerate([values] if part == "centre" else cycles):
                first = run["seed"] == 0 and number == 0
                axis.plot(*zip(*cycle, strict=True), colour, marker=".", label=name if first else None)
for start, end, shade in (
    (0.184, 0.294, "0.92"),
    (0.294, 0.404, "0.85"),
    (0.596, 0.706, "0.92"),
    (0.706, 0.816, "0.85"),
):
    left.axvspan(start, end, color=shade, zorder=0)
left.set(xlabel="share of the training (light: minimise, dark: maximise)", ylabel=LINES[0][1], yscale="log")
right.set(ylabel=LINES[1][1], ylim=(0, None))
figure.legend(loc="outside upper center", ncols=2)
figure.savefig(HERE / "training.png", dpi=110)
