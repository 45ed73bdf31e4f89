"""What tables cost that were made to cost much: seconds, megabytes, one line."""

from __future__ import annotations

import json

import pytest

import bounded

FORMATS = "labelwise.formats"
HUGE = "1" + "0" * 400


def put(folder, texts):
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.csv"
        path.write_text(text)
        paths.append(path)
    return paths


def wide(count, cell="0", rows=2):
    header = ",".join(f"c{n}" for n in range(count))
    line = ",".join([cell] * count)
    return f"image,{header}\n" + "".join(f"{n}.jpg,{line}\n" for n in range(rows))


@pytest.mark.heavy
def test_tables_of_classes(tmp_path):
    texts = [
        wide(100_000),
        wide(100_000, "0.5"),
        wide(100_000, "x.raw"),
        "image,label\n" + "x" * 9_000_000,
        'image,label\n"' + "x\n" * 1_000_000,
        "image,label\n" + "\n" * 3_000_000,
        "image,label\n" + "," * 7_000_000 + "\n",
        "image,label\n" + f"a.jpg,{'9' * 100_000}\n" * 100,
        "image,label,clicks\n" + f"a.jpg,cat,{HUGE}\n",
        "image,label\n" + "".join(f"{n}.jpg,class {n}\n" for n in range(200_000)),
        "\\".join("a" for _ in range(1000)) + ",b\nx,y\n",
    ]
    costs = bounded.readings(f"{FORMATS}.csv_table:Csv", "answers", put(tmp_path, texts))
    bad = "FormatError"
    assert [cost.error for cost in costs] == [bad, bad, bad, bad, bad, "", "", "", bad, "", bad]


@pytest.mark.heavy
def test_tables_of_other_forms(tmp_path):
    paths = put(
        tmp_path,
        [
            wide(100_000),
            wide(20_000, "0", 200),
            "image,a,b\n" + f"a.jpg,{HUGE},0\n",
            "image,a,b\n" + "a.jpg,1,0\n" * 200_000,
        ],
    )
    costs = bounded.readings(f"{FORMATS}.one_hot_csv:OneHotCsv", "data", paths)
    assert [cost.error for cost in costs] == ["", "", "FormatError", ""]
    paths = put(
        tmp_path, [wide(100_000, "0.00001"), f"image,a,b\na.jpg,{HUGE},0\n", "image,a,b\n" + "a.jpg,1,0\n" * 100_000]
    )
    costs = bounded.readings(f"{FORMATS}.probabilities_csv:ProbabilitiesCsv", "predictions", paths)
    assert [cost.error for cost in costs] == ["", "FormatError", ""]
    header = "image,class,x1,y1,x2,y2\n"
    paths = put(
        tmp_path,
        [
            header + "a.jpg,cat,1,2,3,4\n" * 150_000,
            header + f"a.jpg,cat,{HUGE},2,3,4\n",
            header + "a.jpg,cat," + "9" * 100_000,
        ],
    )
    costs = bounded.readings(f"{FORMATS}.tensorflow_csv:TensorflowCsv", "data", paths)
    assert [cost.error for cost in costs] == ["", "FormatError", "FormatError"]


@pytest.mark.heavy
def test_lists(tmp_path):
    paths = put(
        tmp_path,
        [
            "a" + " " * 8_000_000 + "b\n",
            "a/b.jpg 1\n" * 200_000,
            "".join(f"{n % 1000}/{n}.jpg {n % 1000}\n" for n in range(200_000)),
            f"a/b.jpg {HUGE}\n",
        ],
    )
    costs = bounded.readings(f"{FORMATS}.image_list:ImageList", "data", paths)
    assert [cost.error for cost in costs] == ["FormatError", "", "", "FormatError"]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": f"{n}.jpg", "label": f"class {n}", f"key {n}": n} for n in range(40_000)]))
    (cost,) = bounded.readings(f"{FORMATS}.json_labels:JsonLabels", "answers", [path])
    assert cost.error == ""
