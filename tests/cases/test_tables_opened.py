"""Tables all the way to data sets and answers: what a row means, which picture, which class, which split."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from labelwise.data.open import open_source
from labelwise.errors import ConfigError, FormatError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.exchange.sniffing import required
from labelwise.kinds import KINDS


def put(root: Path, files: dict[str, str | bytes | None]) -> Path:
    """Files below a folder; None makes a picture that nobody looks into."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if text is None else text if isinstance(text, bytes) else text.encode())
    return root


def pictures(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


def opened(tmp_path, table, *names, name="labels.csv", **options):
    return open_source(str(put(tmp_path, {**pictures(*names), name: table}) / name), **options)


def answered(path, ids, classes=("cat", "dog"), **wishes):
    """Item -> label of a file of answers, and the door."""
    form = required(Path(path), "answers", kind="classes").format
    door = Incoming(Path(path), form, "answers", Known(KINDS.create("classes"), ids, classes), Wishes(**wishes))
    rows = {row.item: row.raw for row in door.rows()}
    door.refuse_unknown()
    return rows, door


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["image_path,label", "Image Name,Class", "img,target", "filepaths,labels", "Datei,Klasse", "photo;tag"]
)
def test_a_header_of_any_word_is_no_picture(tmp_path, header):
    comma = ";" if ";" in header else ","
    rows = "".join(f"{name}.jpg{comma}{'cat' if name in 'ac' else 'dog'}\n" for name in "abcd")
    source = opened(tmp_path, f"{header}\n{rows}", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert source.ids == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert source.classes == ("cat", "dog")
    assert source.truth["a.jpg"] == "cat"


def test_no_header_at_all(tmp_path):
    source = opened(tmp_path, "a.jpg,label\nb.jpg,image\n", "a.jpg", "b.jpg")
    assert dict(source.truth) == {"a.jpg": "label", "b.jpg": "image"}


def test_a_header_in_answers(tmp_path):
    put(tmp_path, {"answers.csv": "image_name,label\na.jpg,cat\nb.jpg,dog\n"})
    rows, _ = answered(tmp_path / "answers.csv", {"a.jpg", "b.jpg", "c.jpg", "d.jpg"})
    assert rows == {"a.jpg": "cat", "b.jpg": "dog"}


# ---- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("column", ["set", "split", "fold", "phase", "usage", "Teil", "data set"])
@pytest.mark.parametrize(("word", "role"), [("test", "test"), ("dev", "validation"), ("Holdout", "test")])
def test_splits_by_any_column(tmp_path, column, word, role):
    rows = "".join(f"{n}.jpg,{'cat' if n % 2 else 'dog'},{word if n > 5 else 'train'}\n" for n in range(8))
    source = opened(tmp_path, f"path,label,{column}\n{rows}", *(f"{n}.jpg" for n in range(8)))
    assert dict(source.roles) == {"6.jpg": role, "7.jpg": role}
    assert len(source.truth) == 8


def test_a_column_that_names_no_split_is_said(tmp_path):
    source = opened(tmp_path, "path,label,fold\na.jpg,cat,0\nb.jpg,dog,1\n", "a.jpg", "b.jpg")
    assert source.roles == {}
    assert any("columns that are not read: 'fold'" in note for note in source.notes())


def test_an_unknown_word_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"unknown split in .*row 3 'somewhere'"):
        opened(tmp_path, "path,label,split\na.jpg,cat,train\nb.jpg,dog,somewhere\n", "a.jpg", "b.jpg")


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["./a.jpg", "x/../a.jpg", "{root}/a.jpg"])
def test_two_labels_for_one_file_in_two_spellings_are_refused(tmp_path, other):
    table = f"path,label\na.jpg,cat\n{other.format(root=tmp_path)},dog\nb.jpg,dog\n"
    with pytest.raises(FormatError, match=r"row 3: 'a\.jpg' has 'dog' here and 'cat' in row 2"):
        opened(tmp_path, table, "a.jpg", "b.jpg")
    assert opened(tmp_path, table.replace(",dog\nb", ",cat\nb"), "a.jpg", "b.jpg").truth["a.jpg"] == "cat"


@pytest.mark.parametrize(("on_disk", "typed"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("folder", ["", "Bücher/"])
def test_accents_in_either_spelling(tmp_path, on_disk, typed, folder):
    name = f"{folder}Käfer.jpg"
    table = f"path,label\n{unicodedata.normalize(typed, name)},beetle\nb.jpg,ant\n"
    source = opened(tmp_path, table, unicodedata.normalize(on_disk, name), "b.jpg")
    assert all((tmp_path / item).is_file() for item in source.ids)
    assert sorted(source.truth.values()) == ["ant", "beetle"]


def test_a_running_number_beside_the_file(tmp_path):
    table = "id,filename,label\n0,a.jpg,cat\n1,b.jpg,dog\n2,c.jpg,cat\n"
    source = opened(tmp_path, table, "a.jpg", "b.jpg", "c.jpg")
    assert dict(source.truth) == {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "cat"}
    assert any("named by the column 'filename', not by 'id'" in note for note in source.notes())


def test_numbers_that_are_no_files(tmp_path):
    with pytest.raises(FormatError, match="none of its 2 files exists"):
        opened(tmp_path, "id,label\n0,cat\n1,dog\n", "a.jpg", "b.jpg")


def test_names_without_ending_and_pictures_in_a_folder_beside(tmp_path):
    table = "id_code,diagnosis\n000c14,2\n0016aa,4\n00a8f3,2\n"
    names = [f"train/{stem}.png" for stem in ("000c14", "0016aa", "00a8f3")]
    source = opened(tmp_path, table, *names, "test/000c14.png", name="train.csv")
    assert sorted(source.truth.values()) == ["2", "2", "4"]
    assert source.root == tmp_path / "train"


def test_a_semicolon_table_of_a_spreadsheet(tmp_path):
    text = "sep=;\r\nDatei;Klasse;Sekunden\r\nä.jpg;Ähre;3,5\r\nb.jpg;Weizen;4\r\n"
    for encoding in ("utf-8-sig", "utf-16"):
        source = opened(
            tmp_path, text.replace("Datei", "Path").replace("Klasse", "Label").encode(encoding), "ä.jpg", "b.jpg"
        )
        assert sorted(source.truth.values()) == ["Weizen", "Ähre"]


# ---- one column for each class --------------------------------------------------------------------------------------


def test_one_hot_labels_where_one_column_is_set(tmp_path):
    table = "filename, cat, dog\na.jpg,1,0\nb.jpg,0,1\nc.jpg,1,1\nd.jpg,0,0\n"
    source = opened(tmp_path, table, "a.jpg", "b.jpg", "c.jpg", "d.jpg", name="_classes.csv", task="classification")
    assert dict(source.truth) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert source.classes == ("cat", "dog")
    assert source.ids == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    notes = "\n".join(source.notes())
    assert "1 row(s) have several classes" in notes
    assert "1 row(s) have no class" in notes


def test_a_folder_of_splits_with_a_table_in_each(tmp_path):
    header = "filename, cat, dog\n"
    files = {
        **pictures("train/a.jpg", "train/b.jpg", "valid/c.jpg", "test/d.jpg"),
        "train/_classes.csv": f"{header}a.jpg,1,0\nb.jpg,0,1\n",
        "valid/_classes.csv": f"{header}c.jpg,1,0\n",
        "test/_classes.csv": f"{header}d.jpg,0,1\n",
    }
    source = open_source(str(put(tmp_path, files)))
    assert dict(source.truth) == {"train/a.jpg": "cat", "train/b.jpg": "dog", "valid/c.jpg": "cat", "test/d.jpg": "dog"}
    assert dict(source.roles) == {"valid/c.jpg": "validation", "test/d.jpg": "test"}


def test_one_hot_answers(tmp_path):
    put(tmp_path, {"answers.csv": "image,cat,dog\nx/a.jpg,no,yes\nx/b.jpg,,\n"})
    rows, door = answered(tmp_path / "answers.csv", {"x/a.jpg", "x/b.jpg"})
    assert rows == {"x/a.jpg": "dog"}
    assert door.states["unanswered"] == 1


# ---- classes --------------------------------------------------------------------------------------------------------


def test_numbers_of_classes_need_a_list(tmp_path):
    put(tmp_path, {"a.csv": "path,label\na.jpg,1\n", "a.json": json.dumps([{"file": "a.jpg", "label": 1}])})
    for name in ("a.csv", "a.json"):
        with pytest.raises(FormatError, match="numbers such as 1, and no list says which is which"):
            answered(tmp_path / name, {"a.jpg"})
        assert answered(tmp_path / name, {"a.jpg"}, names={0: "cat", 1: "dog"})[0] == {"a.jpg": "dog"}


def test_a_list_of_paths_and_numbers(tmp_path):
    files = pictures("train/ant/1.jpg", "train/bee/2.jpg", "val/ant/3.jpg")
    put(tmp_path, {**files, "list.txt": "train/bee/2.jpg 1\ntrain/ant/1.jpg 0\n"})
    source = open_source(str(tmp_path / "list.txt"), root=tmp_path)
    assert dict(source.truth)["train/bee/2.jpg"] == "bee"
    assert source.roles["val/ant/3.jpg"] == "test"


def test_a_table_of_boxes_is_no_table_of_classes(tmp_path):
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    put(tmp_path, {"a.csv": f"{header}a.jpg,40,30,cat,1,2,11,12\n"})
    with pytest.raises(FormatError, match=r"is tensorflow_csv .* holds boxes, and this project is about classes"):
        required(tmp_path / "a.csv", "answers", kind="classes")
    assert required(tmp_path / "a.csv", "answers").format.name == "tensorflow_csv"


def test_what_no_format_knows_names_the_nearest(tmp_path):
    put(tmp_path, {"a.csv": "x,y,z\n1,2,3\n"})
    with pytest.raises(FormatError, match="no column that names the image"):
        required(tmp_path / "a.csv", "answers")
    with pytest.raises(ConfigError, match="did you mean 'csv'"):
        required(tmp_path / "a.csv", "answers", name="cvs")
