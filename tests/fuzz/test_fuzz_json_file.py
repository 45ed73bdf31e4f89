"""Broken JSON files: read, or refused in one line."""

from __future__ import annotations

import json

from mutations import amounts, survive_reading

from labelwise.formats.json_file import read_json, start_of_json

SAMPLE = {
    "version": "1.0",
    "images": [{"id": n, "file_name": f"ä/{n}.jpg", "size": [4, 3.5], "note": None} for n in range(3)],
    "text": 'a "quoted" \\ word',
}


@amounts
def test_broken_files_are_read_or_refused(tmp_path, count):
    good = tmp_path / "a.json"
    good.write_text(json.dumps(SAMPLE, indent=1))

    def read(path):
        start_of_json(path)
        json.dumps(read_json(path), ensure_ascii=False).encode()

    assert survive_reading(read, [good], tmp_path / "bad", count, seconds=1) > count / 10
