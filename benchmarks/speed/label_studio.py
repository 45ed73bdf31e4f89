"""Times of a round's way to a real Label Studio and back: 1,000 small pictures with a box each, answered by the API.

    LABEL_STUDIO_API_KEY=TOKEN python benchmarks/speed/label_studio.py URL [COUNT]

The server has to run, on this machine or another; a project is made there, and deleted at the end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from labelwise.contracts.tool import Place
from labelwise.project.setup import init, open_project


def main(url: str, count: int) -> None:
    token = os.environ["LABEL_STUDIO_API_KEY"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for n in range(count):
            shade = np.full((48, 64, 3), n % 256, np.uint8)
            Image.fromarray(shade).save(folder / "images" / f"{n:05d}.png")
        init(folder / "images", project=folder, task={"name": "detection"}, classes=("car", "bus"), labels="none")
        project = open_project(folder)
        project.suggest(count, strategy="random")
        server = project.server(token)
        server.connect("label_studio", Place(url))
        number = project.config.tool.number
        found = folder / "found.json"
        images = [{"id": n, "file_name": f"{n:05d}.png", "width": 64, "height": 48} for n in range(count)]
        rows = [{"image_id": n, "category_id": 1, "bbox": [4, 6, 10, 9], "score": 0.8} for n in range(count)]
        found.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "car"}]}))
        began = time.perf_counter()
        server.push(found)
        pushed = time.perf_counter()
        server.push(found)
        again = time.perf_counter()
        print(f"push {count:,}: {pushed - began:.1f} s; again, with nothing to do: {again - pushed:.1f} s", flush=True)
        people = httpx2.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=120)
        query = {"project": number, "include": "id", "page_size": count}
        ids = [row["id"] for row in people.get("/api/tasks/", params=query).json()["tasks"]]
        for task in ids:
            people.post(f"/api/tasks/{task}/annotations/", json={"result": [], "lead_time": 2.0}).raise_for_status()
        began = time.perf_counter()
        done = server.pull()
        pulled = time.perf_counter()
        server.pull()
        again = time.perf_counter()
        print(f"pull {done.labelled:,}: {pulled - began:.1f} s; again, with nothing new: {again - pulled:.1f} s")
        people.delete(f"/api/projects/{number}/")
        people.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
