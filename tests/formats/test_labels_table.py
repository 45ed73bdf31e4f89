import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.oracle import Answer
from labelwise.errors import FormatError
from labelwise.formats.delimited import write_rows
from labelwise.formats.labels_table import check_answers, find_id, read_labels
from labelwise.formats.nearest import nearest_ids

IDS = {"a.png", "b c.png", "=x.png", "d/e.png", "new\nline.png", "q'\".png", "\xe9.png"}
CLASSES = ("cat", "dog")


def put(tmp_path, content, name="labels.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content, name="labels.csv", classes=CLASSES, root="/data/photos"):
    return check_answers(read_labels(put(tmp_path, content, name), classes=classes), IDS, classes, root=root)


def targets(answers):
    return {answer.id: answer.target for answer in answers}


def test_partial_answers_and_skips(tmp_path):
    text = (
        "name,entropy_value,label,skipped,reason,seconds,clicks\r\n"
        "a.png,0.5,cat,,,3.5,2\r\n"
        "b c.png,0.4,,,,,\r\n"
        "'=x.png,0.3,,TRUE,too dark,,\r\n"
        "d/e.png,0.2,skip,,,,\r\n"
        '"new\nline.png",0.1,__skip__,,,,\r\n'
    )
    table = read_labels(put(tmp_path, text))
    assert table.rows == (2, 4, 5, 6)
    assert table.unanswered == 1
    answers = check_answers(table, IDS, CLASSES, root=None)
    assert answers[0] == Answer("a.png", "cat", {"seconds": 3.5, "clicks": 2.0})
    assert answers[1] == Answer("=x.png", None, {}, "too dark")
    assert targets(answers[2:]) == {"d/e.png": None, "new\nline.png": None}


@pytest.mark.parametrize("header", ["id,label", "Name,CLASS", "file,Target", "path,label", "IMAGE,category"])
def test_names_of_columns(tmp_path, header):
    assert targets(read(tmp_path, f"{header}\na.png,cat\n")) == {"a.png": "cat"}


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "a.png", "label": "cat"}, {"id": "\xe9.png", "label": "dog"}],
        {"a.png": "cat", "\xe9.png": "dog", "b c.png": "", "d/e.png": None},
        {"a.png": {"label": "cat", "seconds": 4}, "\xe9.png": {"label": "dog"}},
        {"items": [{"ID": "a.png", "Label": " cat "}, {"path": "/data/photos/\xe9.png", "label": "dog"}]},
    ],
)
@pytest.mark.parametrize("name", ["labels.json", "labels"])
def test_json_layouts(tmp_path, data, name):
    assert targets(read(tmp_path, json.dumps(data), name)) == {"a.png": "cat", "\xe9.png": "dog"}


def test_a_class_called_skip_and_numeric_classes(tmp_path):
    assert targets(read(tmp_path, "a.png,skip\n", classes=("skip", "cat"))) == {"a.png": "skip"}
    assert targets(read(tmp_path, '{"a.png": 3}', "l.json", classes=("3", "4"))) == {"a.png": "3"}
    with pytest.raises(FormatError, match="unknown class '1'"):
        read(tmp_path, "a.png,1\n")


def test_without_classes_any_name_goes(tmp_path):
    assert targets(read(tmp_path, "a.png,anything\n", classes=())) == {"a.png": "anything"}


@pytest.mark.parametrize(
    ("name", "item_id"),
    [
        ("/data/photos/d/e.png", "d/e.png"),
        ("/data/photos/../photos/d/e.png", "d/e.png"),
        ("./d/e.png", "d/e.png"),
        ("d//e.png", "d/e.png"),
        ("d\\e.png", "d/e.png"),
        (" a.png ", "a.png"),
        ("e\u0301.png", "\xe9.png"),  # as macOS spells it
        ("../a.png", None),
        ("d/../../photos/a.png", None),
        ("/data/a.png", None),
        ("/data/photos2/a.png", None),
        ("/etc/passwd", None),
        ("C:\\photos\\a.png", None),
        ("photos", None),
        ("", None),
    ],
)
def test_paths_become_ids_inside_the_root_only(name, item_id):
    assert find_id(name, IDS, "/data/photos") == item_id


def test_paths_through_links_and_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "real" / "d").mkdir(parents=True)
    (tmp_path / "real" / "d" / "e.png").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert find_id(f"{tmp_path}/real/d/e.png", IDS, tmp_path / "link") == "d/e.png"
    assert find_id(f"{tmp_path}/link/d/e.png", IDS, tmp_path / "real") == "d/e.png"
    monkeypatch.chdir(tmp_path)
    assert find_id("real/d/e.png", IDS, "real") == "d/e.png"
    assert find_id(f"{tmp_path}/real/d/e.png", IDS, None) is None


@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        ("id,label\nd/e.jpg,cat\n", "l.csv", r"row 2: unknown id 'd/e\.jpg'; did you mean 'd/e\.png'\? Nothing"),
        ("id,label\nx/a.png,cat\n", "l.csv", r"did you mean 'a\.png'"),
        ("id,label\na.png,cta\n", "l.csv", "row 2: unknown class 'cta' for 'a.png': did you mean 'cat'.*cat, dog"),
        ("id,label\na.png,Cat\n", "l.csv", "did you mean 'cat'"),
        ("id,label\na.png,cat\n\na.png,dog\n", "l.csv", "row 4: two answers for 'a.png': 'dog' here, 'cat' in row 2"),
        ("id,label\na.png,cat\n./a.png,skip\n", "l.csv", "row 3: two answers .* skip here, 'cat' in row 2"),
        ('{"a.png": "cat", "a.png": "dog"}', "l.json", "'a.png' stands twice"),
        (
            "id,label\n../a.png,cat\nx,y\nb c.png,z\n",
            "l.csv",
            r"row 2: path '\.\./a\.png' leaves .*\(and 2 more such rows\)",
        ),
        ("id,label\n/etc/passwd,cat\n", "l.csv", "leaves the data root '/data/photos'"),
        ("id,label\n,cat\n", "l.csv", "row 2: no image is named"),
        ("id,label,skipped\na.png,cat,yes\n", "l.csv", "both skipped and labelled"),
        ("id,label,skipped\na.png,,perhaps\n", "l.csv", "skipped is 'perhaps'"),
        ("id,label,seconds\na.png,cat,-1\n", "l.csv", "row 2: seconds is '-1'"),
        ("id,label,seconds\na.png,cat,nan\n", "l.csv", "seconds is 'nan'"),
        ("id,label,clicks\na.png,cat,many\n", "l.csv", "clicks is 'many'"),
        ("id,entropy_value\na.png,0.5\n", "l.csv", "no column of labels"),
        ("[1]", "l.json", "item 1: 1 is no object"),
        ('[{"label": "cat"}]', "l.json", "item 1: no id"),
        ('[{"id": "a.png"}]', "l.json", "no item has a label"),
        ('[{"id": "a.png", "label": ["cat"]}]', "l.json", r"item 1: \['cat'\] is no label"),
        ('[{"id": "a.png", "label": true}]', "l.json", "True is no label"),
        ('[{"id": "a.png", "id": "b c.png", "label": "cat"}]', "l.json", "stands twice in one object"),
        ("7", "l.json", "holds 7"),
        ("{", "l.json", "no valid JSON"),
        ("[" * 100_000, "l.json", "nested too deeply"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, content, name, match):
    with pytest.raises(FormatError, match=match) as error:
        read(tmp_path, content, name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_name_with_a_newline_stays_on_one_line(tmp_path):
    with pytest.raises(FormatError) as error:
        read(tmp_path, 'id,label\n"odd\nname.png",cat\n')
    assert "\n" not in str(error.value)


def test_identical_answers_count_once(tmp_path):
    answers = read(tmp_path, "id,label\na.png,cat\n/data/photos/a.png,cat\nb c.png,skip\nb c.png,skip\n")
    assert targets(answers) == {"a.png": "cat", "b c.png": None}
    assert len(answers) == 2


def test_decimal_commas_beside_semicolons(tmp_path):
    assert read(tmp_path, "id;label;seconds\na.png;cat;3,5\n")[0].cost["seconds"] == 3.5


def test_csv_that_starts_like_json(tmp_path):
    table = read_labels(put(tmp_path, "[1].png,cat\n"))
    assert table.answers[0].id == "[1].png"


def test_unknown_ids_without_answer_do_not_matter(tmp_path):
    assert read(tmp_path, "id,label\nunknown.png,\na.png,cat\n")[0].id == "a.png"


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)


@given(st.dictionaries(NAMES, st.sampled_from(CLASSES), min_size=1, max_size=6))
def test_round_trip_of_any_names(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("round") / "labels.csv"
    path.write_text(write_rows([("id", "label"), *labels.items()]), encoding="utf-8", newline="")
    assert targets(check_answers(read_labels(path), set(labels), CLASSES, root=None)) == labels
    path.write_text(json.dumps(labels), encoding="utf-8")
    assert (
        targets(check_answers(read_labels(path.rename(path.with_suffix(".json"))), set(labels), CLASSES, root=None))
        == labels
    )


def test_large_projects_stay_fast(tmp_path):
    known = {f"class{n % 100:02d}/image_{n:06d}.jpg" for n in range(200_000)}
    start = time.perf_counter()
    assert nearest_ids("class05/image_00105.jpg", known)
    assert nearest_ids("other/image_000105.jpg", known) == ["class05/image_000105.jpg"]
    table = read_labels(put(tmp_path, "id,label\n" + "".join(f"/r/{i},cat\n" for i in sorted(known)[:5000])))
    assert len(check_answers(table, known, CLASSES, root="/r")) == 5000
    assert time.perf_counter() - start < 10
