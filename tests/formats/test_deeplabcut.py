"""DeepLabCut: projects, single files, several animals, predictions with likelihoods, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Head, Points, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.deeplabcut import DeepLabCut

FORM = DeepLabCut()
ONE = """scorer,,,Ann,Ann,Ann,Ann
bodyparts,,,nose,nose,tail,tail
coords,,,x,y,x,y
labeled-data,m1,img01.png,3,4.5,10.25,11
labeled-data,m1,img02.png,,,7,8
labeled-data,m1,img03.png,,,,
"""
#: as versions before 2.3 wrote it on Windows
OLD = r"""scorer,Ann,Ann,Ann,Ann
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data\m2\img01.png,5,6,7,8
"""
MANY = """scorer,,,Ann,Ann,Ann,Ann,Ann,Ann
individuals,,,mus1,mus1,mus2,mus2,single,single
bodyparts,,,nose,nose,nose,nose,corner,corner
coords,,,x,y,x,y,x,y
labeled-data,m3,a.png,1,2,3,4,9,9
labeled-data,m3,b.png,1,2,,,,
"""
GUESSED = """scorer,DLC_resnet50,DLC_resnet50,DLC_resnet50
bodyparts,nose,nose,nose
coords,x,y,likelihood
labeled-data/m1/img01.png,3.5,4.5,0.99
labeled-data/m1/img02.png,6,7,0.01
"""
FRAMES = GUESSED.replace("labeled-data/m1/img01.png", "0").replace("labeled-data/m1/img02.png", "1")


def samples(folder):
    """A project, one old file, one of several animals."""
    (folder / "project" / "labeled-data" / "m1").mkdir(parents=True)
    for name in ("img01.png", "img02.png", "img03.png"):
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(folder / "project" / "labeled-data" / "m1" / name)
    (folder / "project" / "labeled-data" / "m1" / "CollectedData_Ann.csv").write_text(ONE)
    (folder / "project" / "config.yaml").write_text("Task: mice\nskeleton:\n- - nose\n  - tail\n")
    (folder / "CollectedData_old.csv").write_text(OLD)
    (folder / "CollectedData_many.csv").write_text(MANY)
    return [folder / "project", folder / "CollectedData_old.csv", folder / "CollectedData_many.csv"]


def predicted_samples(folder):
    """Of frames, and of a video."""
    folder.mkdir(parents=True)
    (folder / "machinelabels-iter0.csv").write_text(GUESSED)
    (folder / "videoDLC_resnet50_mice.csv").write_text(FRAMES)
    return [folder / "machinelabels-iter0.csv", folder / "videoDLC_resnet50_mice.csv"]


def put(tmp_path, text, name="CollectedData_Ann.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def read(path, use="data", form=FORM, **hints):
    head, records = form.read(path, use, Hints("points", **hints))
    return head, list(records)


def test_a_project_gives_its_frames_by_video_with_its_skeleton(tmp_path):
    project, *_ = samples(tmp_path)
    head, [first, second, third] = read(project)
    assert head.root == project / "labeled-data"
    assert head.classes == ("subject",)
    assert head.skeleton == (("nose", "tail"), ((0, 1),))
    assert head.notes == (
        "1 frame(s) without any point: not labelled (--format deeplabcut:blank=empty takes them as empty)",
    )
    file = str(project / "labeled-data" / "m1" / "CollectedData_Ann.csv")
    points = Points(((3, 4.5, 2), (10.25, 11, 2)), ("nose", "tail"))
    assert first == Record(Where(file, "row", 4), "m1/img01.png", objects=(Seen("subject", points=points),), group="m1")
    assert second.objects[0].points.points == ((0, 0, 0), (7, 8, 2))
    assert (third.state, third.objects) == ("untouched", ())
    assert FORM.root(project) == project / "labeled-data"


def test_a_frame_without_points_may_be_an_empty_one(tmp_path):
    head, records = read(samples(tmp_path)[0], form=DeepLabCut(blank="empty"))
    assert [record.state for record in records] == ["answered", "answered", "empty"]
    assert head.notes == ()
    with pytest.raises(FormatError, match="untouched or empty"):
        DeepLabCut(blank="no")


def test_old_files_and_the_class_of_the_project(tmp_path):
    _, [record] = read(put(tmp_path, OLD), "answers", classes=("mouse",))
    assert (record.image, record.group) == ("labeled-data/m2/img01.png", "m2")
    assert record.objects == (Seen("mouse", points=Points(((5, 6, 2), (7, 8, 2)), ("nose", "tail"))),)
    _, [record] = read(put(tmp_path, OLD), "answers", classes=("mouse", "rat"))
    assert record.objects[0].cls == "subject"


def test_several_animals_are_several_objects(tmp_path):
    head, [first, second] = read(put(tmp_path, MANY), "answers")
    assert [one.points.points for one in first.objects] == [((1, 2, 2),), ((3, 4, 2),)]
    assert [one.points.points for one in second.objects] == [((1, 2, 2),)]
    assert head.notes == ("1 frame(s) with points of no animal (individual 'single'): these are left out",)


def test_predictions_keep_their_likelihoods(tmp_path):
    frames, video = predicted_samples(tmp_path / "p")
    _, [sure, unsure] = read(frames, "predictions")
    assert (sure.objects[0].score, sure.objects[0].points.scores) == (0.99, (0.99,))
    assert unsure.objects[0].points == Points(((6, 7, 2),), ("nose",), (0.01,))
    _, [first, second] = read(video, "predictions")
    assert [(one.image, one.number) for one in (first, second)] == [(None, 0), (None, 1)]
    _, [record, _] = read(frames, "answers")
    assert (record.objects[0].score, record.objects[0].points.scores) == (None, ()), "a label is no guess"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tail,tail", "nose,nose", "the point 'nose' stands twice in the header"),
        ("coords,,,x,y,x,y", "coords,,,x,y,x,x", "stands twice in the header"),
        ("tail,tail", "tail,ear", "the point 'tail' has no column 'y'"),
        ("3,4.5", "3,", "row 4: 'nose' has only one of x and y"),
        ("3,4.5", "3,abc", "row 4: y of 'nose' is 'abc'"),
        ("3,4.5", "3,inf", "row 4: y of 'nose' is 'inf'"),
        (",11\n", ",11,12\n", "row 4: 8 cells, and the header has 7"),
        ("scorer,,,Ann", "scorer,,,Ann,Ann", "the row 'scorer' has 8 cells, and 'coords' 7"),
        ("labeled-data,m1,img02.png", ",,", "row 5: no frame is named"),
        ("bodyparts", "parts", "is no table of DeepLabCut"),
    ],
)
def test_broken_files_are_refused_with_the_row(tmp_path, old, new, said):
    path = put(tmp_path, ONE.replace(old, new, 1))
    with pytest.raises(FormatError, match=said) as caught:
        read(path)
    assert "CollectedData_Ann.csv" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_files_of_other_body_parts_and_skeletons_of_unknown_ones_are_refused(tmp_path):
    project, *_ = samples(tmp_path)
    (project / "labeled-data" / "m2").mkdir()
    (project / "labeled-data" / "m2" / "CollectedData_Ann.csv").write_text(ONE.replace("tail", "ear"))
    with pytest.raises(FormatError, match=r"m2.*'ear' for one: all need the same body parts"):
        read(project)
    with pytest.raises(FormatError, match="of 'mus2' are not those of the first"):
        read(put(tmp_path, MANY.replace("nose,nose,corner", "ear,ear,corner")))
    (project / "labeled-data" / "m2" / "CollectedData_Ann.csv").unlink()
    (project / "config.yaml").write_text("skeleton:\n- [nose, wing]\n")
    with pytest.raises(
        FormatError, match=r"config.yaml.*the skeleton has \['nose', 'wing'\]; give pairs of nose, tail"
    ):
        read(project)
    with pytest.raises(FormatError, match="holds no CollectedData"):
        read(tmp_path / "project" / "labeled-data" / "m2")


def written(tmp_path, records, use="labelled", **options):
    how = Writing(use, "points", options=options)
    return FORM.write(tmp_path / "out", Head(("mouse",)), records, how)


def test_what_is_asked_goes_out_as_guesses_to_correct_and_comes_back(tmp_path):
    points = Points(((3, 4, 2), (0, 0, 0)), ("nose", "tail"), (0.75, 0.125))
    guess = Record(Where("a"), "m1/a.png", state="untouched", objects=(Seen("mouse", points=points, score=0.4),))
    bare = Record(Where("b"), "m1/b.png", state="untouched")
    assert written(tmp_path, [guess, bare], "asked") == [
        "2 image(s) have no file of their own: their labels were written without them"
    ]
    (file,) = (tmp_path / "out").rglob("*.csv")
    assert file.relative_to(tmp_path / "out").as_posix() == "labeled-data/m1/machinelabels-iter0.csv"
    assert file.read_text().splitlines()[3:] == [
        "labeled-data,m1,a.png,3,4,0.75,,,0.125",
        "labeled-data,m1,b.png" + "," * 6,
    ]
    _, [one, two] = read(tmp_path / "out", "predictions")
    assert one.objects[0].points == points
    assert two.objects == ()


def test_frames_without_any_guess_need_the_names_of_the_points(tmp_path):
    bare = Record(Where("b"), "m1/b.png", state="untouched")
    with pytest.raises(FormatError, match="bodyparts=nose;tail"):
        written(tmp_path, [bare], "asked")
    written(tmp_path, [bare], "asked", bodyparts="nose; tail", scorer="Eve")
    (file,) = (tmp_path / "out").rglob("*.csv")
    assert file.name == "CollectedData_Eve.csv"
    assert file.read_text().splitlines()[1] == "bodyparts,,,nose,nose,tail,tail"


def test_what_has_no_place_is_said(tmp_path):
    points = Points(((3, 4, 1),), ("nose",))
    record = Record(Where("a"), "x/y/a.png", objects=(Seen("mouse", points=points), Seen("mouse", points=Points(()))))
    said = written(tmp_path, [record])
    assert said[:3] == [
        "1 frame(s) of nested folders: these are joined to one name",
        "1 hidden point(s) written as visible ones",
        "1 object(s) without points left out",
    ]
    assert "convertcsv2h5" in said[-1]
    other = Record(Where("b", "row", 2), "b.png", objects=(Seen("mouse", points=Points(((3, 4, 1),), ("ear",))),))
    with pytest.raises(FormatError, match="'b', row 2: an object has the points ear, others nose"):
        written(tmp_path, [record, other])


def test_a_frame_whose_name_no_file_can_have_keeps_it(tmp_path):
    long = "x" * 300
    path = tmp_path / "CollectedData_me.csv"
    path.write_text(f"scorer,me,me\nbodyparts,snout,snout\ncoords,x,y\nlabeled-data/a/{long}.png,1,2\n")
    _, records = DeepLabCut().read(path, "data", Hints("points"))
    assert [record.image for record in records] == [f"labeled-data/a/{long}.png"]
