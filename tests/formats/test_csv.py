"""Tables with a row for each image."""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.csv_table import Csv

CSV = Csv()


def samples(folder):
    """Small tables as the tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "labels.csv": "path,label,split\na/1.jpg,cat,train\na/2.jpg,dog,test\nb/3.jpg,,train\n",
        "picks.csv": "id,label,rank,score,strategy,predicted\r\na.png,cat,0,1.5,margin,dog\r\nb.png,,1,0.5,margin,\r\n",
        "excel.csv": "sep=;\r\nName;Class;Seconds\r\na.png;cat;3,5\r\nb.png;skip;\r\n",
        "kaggle.csv": ",id_code,diagnosis\n0,000c1434d8d7,2\n1,001639a390f0,4\n2,0024cdab0c1e,2\n",
        "scores.csv": "image,prediction,confidence\na.jpg,cat,0.75\nb.jpg,dog,0.5\n",
        "two.csv": "a.jpg,cat\nb.jpg,dog\n",
        "unicode.tsv": "\ufeffBild\tKlasse\nKäfer.jpg\tkäfer\nb.jpg\tameise\n",
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    (folder / "excel.txt").write_bytes("filename\tlabel\r\na.jpg\tcat\r\nb.jpg\tdog\r\n".encode("utf-16"))
    return [*(folder / name for name in texts), folder / "excel.txt"]


def put(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, use="answers", name="t.csv", **hints):
    """Head and records of a table."""
    head, records = CSV.read(put(tmp_path, text, name), use, Hints(**hints))
    return head, list(records)


def classes(records):
    return {record.image: record.objects[0].cls if record.objects else None for record in records}


def test_answers_with_all_that_can_be_said(tmp_path):
    text = (
        "name,entropy_value,label,skipped,reason,seconds,clicks,annotator\r\n"
        "a.png,0.5,cat,,,3.5,2,ann\r\n"
        "b c.png,0.4,,,,,,\r\n"
        "'=x.png,0.3,,TRUE,too dark,,,\r\n"
        "d/e.png,0.2,skip,,,,,\r\n"
        '"new\nline.png",0.1,__skip__,,,,,\r\n'
    )
    head, (first, second, third, fourth, fifth) = read(tmp_path, text)
    shown = str(tmp_path / "t.csv")
    assert first == Record(
        Where(shown, "row", 2), "a.png", objects=(Seen("cat"),), seconds=3.5, cost={"clicks": 2.0}, annotator="ann"
    )
    assert (second.image, second.state, second.objects) == ("b c.png", "untouched", ())
    assert (third.image, third.state, third.reason) == ("=x.png", "skipped", "too dark")
    assert [(r.image, r.state, r.where.row) for r in (fourth, fifth)] == [
        ("d/e.png", "skipped", 5),
        ("new\nline.png", "skipped", 6),
    ]
    assert head.notes == ()


def test_words_for_skipping_count_in_answers_and_are_classes_elsewhere(tmp_path):
    text = "id,label\na.png,skip\n"
    assert read(tmp_path, text)[1][0].state == "skipped"
    assert classes(read(tmp_path, text, classes=("skip", "cat"))[1]) == {"a.png": "skip"}
    assert classes(read(tmp_path, text, use="data")[1]) == {"a.png": "skip"}


def test_numbers_are_classes_by_name_unless_the_user_gave_a_list(tmp_path):
    text = "id,label\na.png,3\n"
    assert classes(read(tmp_path, text)[1]) == {"a.png": "3"}
    assert classes(read(tmp_path, text, names={3: "cat"})[1]) == {"a.png": 3}
    assert classes(read(tmp_path, text, names={3: "cat"}, classes=("3", "4"))[1]) == {"a.png": "3"}
    assert classes(read(tmp_path, f"id,label\na.png,1{'0' * 400}\n", names={3: "cat"})[1])["a.png"].startswith("1000")


HEADERS = [
    *("id", "name", "file", "path", "image", "image_path", "image_name", "filename", "img", "Image Path", "imageFile"),
    *("FILE_NAME", "file name", "filepaths", "image_id", "url", "Bild"),
]


@pytest.mark.heavy
@pytest.mark.parametrize("image", HEADERS)
@pytest.mark.parametrize("label", ["label", "Class", "target", "category", "label_name", "species", "Klasse"])
def test_a_header_never_becomes_data(tmp_path, image, label):
    _, records = read(tmp_path, f"{image},{label}\na.jpg,cat\nb.jpg,dog\n", use="data")
    assert classes(records) == {"a.jpg": "cat", "b.jpg": "dog"}


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,cat\nb.jpg,dog\n",
        "a.jpg,label\nb.jpg,class\n",  # classes that are called like headers
        "a.jpg,name\nb.jpg,id\n",
        "path/name.jpg,cat\nid.jpg,dog\n",
        "label.png,cat\nclass.png,dog\n",
        "0,cat\n1,dog\n",
        "x,cat\ny,cat\n",
        "a.png#1,cat\na.png#2,dog\n",
        "a.png,cat\n",
    ],
)
def test_data_never_become_a_header(tmp_path, text):
    assert len(read(tmp_path, text)[1]) == text.count("\n")


def test_where_nothing_decides_the_table_is_refused(tmp_path):
    for text in ("x,cat\ny,dog\n", "Bild,Art\nIMG_1,cat\nIMG_2,dog\n", "IMG_1,cat\nb.png,cat\nc.png,dog\n"):
        with pytest.raises(FormatError, match=r"may be a header or data.*write a line (id|path),label above it"):
            read(tmp_path, text)
    # the classes of the project decide
    assert len(read(tmp_path, "x,cat\ny,dog\n", classes=("cat", "dog"))[1]) == 2
    assert len(read(tmp_path, "Bild,Art\nIMG_1,cat\nIMG_2,dog\n", classes=("cat", "dog"))[1]) == 2


def test_files_that_lie_there_decide(tmp_path):
    (tmp_path / "scan.raw").write_bytes(b"")
    assert len(read(tmp_path, "scan.raw,cat\nb.raw,dog\n", use="data")[1]) == 2


def test_the_column_of_files_wins_and_is_said(tmp_path):
    head, records = read(tmp_path, "id,filename,label\n0,a.jpg,cat\n1,b.jpg,dog\n", use="data")
    assert classes(records) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert head.notes == (
        f"'{tmp_path}/t.csv': images are named by the column 'filename', not by 'id': its cells are names of files",
    )
    head, records = read(tmp_path, "cat,a.jpg\ndog,b.jpg\n")
    assert classes(records) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert "images are named by column 2" in head.notes[0]
    head, records = read(tmp_path, "id,Bild,label\n0,a.jpg,cat\n1,b.jpg,dog\n")
    assert classes(records) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert "'Bild', whose cells end like files" in head.notes[0]


def test_names_of_classes_win_over_their_numbers(tmp_path):
    head, records = read(tmp_path, "image,label,label_name\na.jpg,0,cat\nb.jpg,1,dog\n", use="data")
    assert classes(records) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert "classes are read from 'label_name'; 'label' holds their numbers" in head.notes[0]


def test_a_guessed_column_of_classes_is_said(tmp_path):
    head, records = read(tmp_path, "image,emotion\na.jpg,joy\nb.jpg,anger\n")
    assert classes(records) == {"a.jpg": "joy", "b.jpg": "anger"}
    assert "classes are read from the column 'emotion'" in head.notes[0]
    for column, cells in (("weight", ("0.5", "0.25")), ("width", ("640", "640")), ("serial", ("17", "18"))):
        text = f"image,{column}\na.jpg,{cells[0]}\nb.jpg,{cells[1]}\n"
        with pytest.raises(FormatError, match="no column of labels"):
            read(tmp_path, text)
        head, records = read(tmp_path, text, use="data")
        assert classes(records) == {"a.jpg": None, "b.jpg": None}
        assert head.notes[0].endswith(f"columns that are not read: '{column}'")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        *((name, ("train", "test")) for name in ("split", "Set", "fold", "PHASE", "subset", "data set", "partition")),
        *(("usage", ("Training", "PublicTest")), ("split", ("train2017", "dev")), ("Teil", ("train", "holdout"))),
    ],
)
def test_columns_of_splits(tmp_path, column, words):
    head, records = read(tmp_path, f"path,label,{column}\na.jpg,cat,{words[0]}\nb.jpg,dog,{words[1]}\n", use="data")
    assert [record.split for record in records] == list(words)
    assert len(head.notes) == (column == "Teil")


def test_columns_that_only_sound_like_splits_are_not_read_and_said(tmp_path):
    head, records = read(tmp_path, "path,label,fold\na.jpg,cat,0\nb.jpg,dog,1\n", use="data")
    assert [record.split for record in records] == [None, None]
    assert head.notes == (f"'{tmp_path}/t.csv': columns that are not read: 'fold'",)
    # a word that only splits have comes through, for the caller to refuse
    assert read(tmp_path, "path,label,split\na.jpg,cat,weird\n", use="data")[1][0].split == "weird"


def test_groups_and_further_columns(tmp_path):
    head, (first, second) = read(
        tmp_path, "path,label,patient,camera,weather,lens\na.jpg,cat,p1,1,sun,x\nb.jpg,dog,,2,rain,y\n", use="data"
    )
    assert (first.group, second.group) == ("p1", None)
    assert head.notes == (f"'{tmp_path}/t.csv': columns that are not read: 'camera', 'weather', 'lens'",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_encodings_and_line_ends(tmp_path, delimiter, encoding, end):
    rows = [("ID", " Label "), ("a.png", "cat"), ("", ""), (f'"b{delimiter}\n.png"', "dög")]
    text = end.join(delimiter.join(row) for row in rows)
    _, records = read(tmp_path, text.encode(encoding))
    assert classes(records) == {"a.png": "cat", f"b{delimiter}\n.png": "dög"}
    assert [record.where.row for record in records] == [2, 4]


def test_names_stay_as_they_are_written(tmp_path):
    """Matching is somebody else's: other spellings of one name come through as they are, with their rows."""
    name = "Käfer.jpg"
    spellings = (unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name), f"./{name}")
    _, records = read(tmp_path, "path,label\n" + "".join(f"{spelling},x\n" for spelling in spellings))
    assert [record.image for record in records] == list(spellings)
    assert [record.where.row for record in records] == [2, 3, 4]


def test_names_without_ending_and_regions(tmp_path):
    _, records = read(tmp_path, "id,label\n000c14,2\na.PNG,1\na.png#12,1\ntake#2,1\n")
    assert [(r.image, r.region, r.bare) for r in records] == [
        ("000c14", None, True),
        ("a.PNG", None, False),
        ("a.png", "12", False),
        ("take#2", None, True),
    ]


def test_predictions(tmp_path):
    _, (first, _) = read(tmp_path, "image,prediction,confidence\na.jpg,cat,0.75\nb.jpg,dog,1\n", use="predictions")
    assert first.objects == (Seen("cat", score=0.75),)
    for text, match in [
        ("image,prediction,confidence\na.jpg,cat,1.5\n", "row 2: score is '1.5'; give a number from 0 to 1"),
        ("image,prediction,confidence\na.jpg,cat,\n", "row 2: no score"),
        ("image,prediction,confidence\na.jpg,,0.5\n", "row 2: no class"),
        ("image,prediction,confidence\na.jpg,cat,1e999\n", "row 2: score is '1e999'"),
        ("image,prediction\na.jpg,cat\n", "no column of scores"),
        ("image,confidence\na.jpg,1\n", "no column of predicted classes"),
    ]:
        with pytest.raises(FormatError, match=match):
            read(tmp_path, text, use="predictions")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("\ufeff\n\n", "is empty"),
        ("id,label,skipped\na.png,cat,yes\n", "row 2: both skipped and labelled 'cat'"),
        ("id,label,skipped\na.png,,perhaps\n", "row 2: skipped is 'perhaps'"),
        ("id,label,seconds\na.png,cat,-1\n", "row 2: seconds is '-1'"),
        ("id,label,seconds\na.png,cat,nan\n", "seconds is 'nan'"),
        (f"id,label,clicks\na.png,cat,1{'0' * 400}\n", "clicks is '1000"),
        ("id,label\na.png,cat\n,dog\n", "row 3: no image is named"),
        ("id,label,seconds\na.png,cat,1\n,dog,\n", "row 3: no image is named"),
        ("id,entropy_value\na.png,0.5\n", "no column of labels .columns: 'id', 'entropy_value'"),
        ("id,label\na,b.png,cat\n", 'row 2: 3 cells, but there are 2 columns; put "quotes"'),
        ("id,label,Label\na.png,2,3\n", "two columns called 'label'"),
        ("foo,bar,baz\n1,2,3\n", "no column that names the image .columns: 'foo', 'bar', 'baz'"),
        ("a.png,cat,x\nb.png,dog,y\n", "3 columns and no header"),
        ('id,label\n"a,b\n', "row 2: unexpected end of data"),
        ('id,label\n"a"x,b\n', "row 2: .* quotation marks"),
        ("id,label\n" + "x" * 200_000 + ",b\n", "row 2: field larger"),
        ("id,label\na\0b,c\n", "no text at all"),
        ("id,label\n" + "a.png,cat\n" * 20_000 + "a\0b,c\n", "NUL bytes"),
        ("id,label\n\xe9,b".encode("latin-1"), "line 2: not valid UTF-8"),
        ("id,label\na,b".encode("utf-16-le"), "UTF-16"),
        ("id,label\na,b".encode("utf-16")[:-1], "not valid UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text at all"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,9,9,cat,1,1,2,2\n", "columns of boxes"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, match):
    with pytest.raises(FormatError, match=match) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    assert len(str(error.value).replace(str(tmp_path), "")) <= 300


def test_short_rows_and_identical_rows_are_fine(tmp_path):
    _, records = read(tmp_path, "id,label,reason\na.png\nb.png,cat,,,\nb.png,cat\n")
    assert [(r.image, r.state) for r in records] == [
        ("a.png", "untouched"),
        ("b.png", "answered"),
        ("b.png", "answered"),
    ]


def test_root_is_the_folder_of_the_pictures(tmp_path):
    path = put(tmp_path, "path,label\na.png,cat\nb,dog\n")
    assert CSV.root(path) == tmp_path
    (tmp_path / "images").mkdir()
    assert CSV.root(path) == tmp_path
    (tmp_path / "images" / "b.jpg").write_bytes(b"")
    assert CSV.root(path) == tmp_path / "images"
    (tmp_path / "a.png").write_bytes(b"")
    assert CSV.root(path) == tmp_path
    assert CSV.root(put(tmp_path, "path,label\n../a.png,cat\n/etc/x.png,dog\n", "u.csv")) == tmp_path


def test_sniff(tmp_path):
    for path in samples(tmp_path / "s"):
        assert CSV.sniff(path, "predictions" if path.stem == "scores" else "answers").sure >= 0.8, path.name
    for text, use in [
        ("id,entropy_value\na.png,0.5\n", "answers"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,9,9,cat,1,1,2,2\n", "data"),
        ("id,label,rank,score,strategy,predicted\na.png,,0,1.5,margin,dog\n", "predictions"),
        ("image,label\na.png,cat\n", "predictions"),
        ("", "data"),
        ("cat\ndog\n", "data"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "data"),
    ]:
        told = CSV.sniff(put(tmp_path, text), use)
        assert told.sure < 0.5
        assert told.why
        assert str(tmp_path) not in told.why
    for name, text in {
        "a.json": "{}",
        "0.txt": "0 0.5 0.5 0.2 0.2\n",
        "classes.txt": "cat\ndog\n",
        "train": "",
    }.items():
        assert CSV.sniff(put(tmp_path, text, name), "data").sure < 0.5
    assert CSV.sniff(tmp_path, "data").sure == 0
    assert CSV.sniff(tmp_path / "gone.csv", "data").sure == 0


# ---- writing --------------------------------------------------------------------------------------------------------


def record(image, cls=None, **more):
    return Record(
        Where(image),
        image,
        objects=() if cls is None else (Seen(cls),),
        state=more.pop("state", "untouched" if cls is None else "answered"),
        **more,
    )


def written(tmp_path, records, use="labelled", head=None, **how):
    path = tmp_path / "out.csv"
    said = CSV.write(path, head or Head(classes=("cat", "dog")), records, Writing(use, "classes", **how))
    return path, said


def anywhere(records):
    """Records without the place they were read at."""
    return [replace(record, where=Where("x")) for record in records]


PICKED = [
    record(
        "a.png", extra={"path": "/d/a.png", "rank": 0, "strategy_score": 1.5, "strategy": "margin", "predicted": "cat"}
    ),
    record("=b.png", extra={"answered": False, "rank": 1, "strategy": "margin"}),
    record("c.png", extra={"rank": 2, "strategy_score": -0.25}, region="7"),
]


def test_picks_are_written_and_come_back_unanswered(tmp_path):
    path, said = written(tmp_path, PICKED, "asked")
    assert said == []
    assert path.read_bytes() == (
        b"id,label,rank,score,strategy,predicted\r\n"
        b"a.png,,0,1.5,margin,cat\r\n'=b.png,,1,,margin,\r\nc.png#7,,2,-0.25,,\r\n"
    )
    _, records = CSV.read(path, "answers", Hints())
    found = list(records)
    assert {one.state for one in found} == {"untouched"}
    assert [(one.image, one.region) for one in found] == [("a.png", None), ("=b.png", None), ("c.png", "7")]
    assert found[0].extra == {"rank": 0, "strategy_score": 1.5, "strategy": "margin", "predicted": "cat"}
    filled = path.read_text().replace("a.png,,", "a.png,dog,").replace("'=b.png,,", "'=b.png,skip,")
    path.write_text(filled)
    _, records = CSV.read(path, "answers", Hints())
    assert [one.state for one in records] == ["answered", "skipped", "untouched"]


def test_scores_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"'a\.png' has score nan"):
        written(tmp_path, [record("a.png", extra={"strategy_score": float("nan")})], "asked")
    assert not (tmp_path / "out.csv").exists()


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)


@given(
    st.dictionaries(NAMES, st.sampled_from(("cat", "dog", "=x", "skip")), min_size=1, max_size=6),
    st.sampled_from(("train", "val", "test")),
)
def test_labels_are_read_as_they_were_written(tmp_path_factory, labels, split):
    folder = tmp_path_factory.mktemp("round")
    records = [record(f"{name}.png", cls, split=split, seconds=1.5, group="g") for name, cls in labels.items()]
    path, said = written(folder, records)
    assert said == []
    _, found = CSV.read(path, "data", Hints())
    assert anywhere(found) == anywhere(records)


def test_labelled_sets_name_class_and_split_and_what_else_is_known(tmp_path):
    path, _ = written(tmp_path, [record("a.png", "cat", split="train"), record("b.png", "dog", split="val")])
    assert path.read_text().splitlines() == ["id,label,split", "a.png,cat,train", "b.png,dog,val"]
    more = [
        record("a.png", 1, split="train", cost={"clicks": 3.0}, annotator="ann"),
        record("b.png", state="skipped", reason="dark"),
    ]
    path, _ = written(tmp_path, more)
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {**dict(zip(("id", "label", "split"), ("a.png", "dog", "train"), strict=True)),
             **{"skipped": "", "reason": "", "annotator": "ann", "clicks": "3.0"}},
            {**dict(zip(("id", "label", "split"), ("b.png", "", ""), strict=True)),
             **{"skipped": "true", "reason": "dark", "annotator": "", "clicks": ""}},
        ]  # fmt: skip


def test_pictures_lie_beside_the_table(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.png", "b.png"):
        (source / name).write_bytes(name.encode())
    out = tmp_path / "set"
    out.mkdir()
    path, _ = written(
        out, [record("a.png", "cat"), record("b.png", "dog")], images="copy", path_of=lambda name: str(source / name)
    )
    assert (out / "images" / "a.png").read_bytes() == b"a.png"
    assert CSV.root(path) == out / "images"


def test_shapes_have_no_place(tmp_path):
    boxed = Record(Where("a"), "a.png", objects=(Seen("cat", box=Box(0, 0, 1, 1)),))
    with pytest.raises(FormatError, match=r"'a\.png' holds shapes"):
        written(tmp_path, [boxed])
    with pytest.raises(FormatError, match="class 7, which has no name"):
        written(tmp_path, [record("a.png", 7)])
    _, said = written(tmp_path, [Record(Where("a"), "a.png", objects=(Seen("cat", attributes={"x": 1}),))])
    assert said == ["attributes of 1 label(s): a list of classes has no place for them"]
