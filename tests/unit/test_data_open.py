import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from labelwise.data import ArraySource, ImageFolder, open_source
from labelwise.errors import ConfigError, DataError


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("a.png", "b c.png", "deep/d.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return root


def test_folder_by_text_path_and_root(photos):
    for source in (open_source(photos), open_source(str(photos)), open_source("photos", root=photos.parent)):
        assert isinstance(source, ImageFolder)
        assert source.ids == ("a.png", "b c.png", "deep/d.png")
    assert open_source(photos, labels="folders").truth == {"deep/d.png": "deep"}


def test_a_source_comes_back_as_it_is(photos):
    source = open_source(photos)
    assert open_source(source) is source


def test_npz_by_path(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8))
    assert isinstance(open_source(tmp_path / "a.npz"), ArraySource)
    assert isinstance(open_source("a.npz", root=tmp_path), ArraySource)


@pytest.mark.parametrize(
    "text",
    [
        "path,label,split,patient\na.png,cat,train,p1\ndeep/d.png,dog,test,p2\n",
        "Split;Image;Class;Patient\r\ntrain;./a.png;cat;p1\r\nTest;deep/d.png;dog;p2\r\n",
    ],
)
def test_csv_lists_images_labels_splits_and_groups(photos, text):
    (photos / "list.csv").write_bytes(text.encode())
    source = open_source(photos / "list.csv")
    assert source.ids == ("a.png", "deep/d.png")
    assert source.truth == {"a.png": "cat", "deep/d.png": "dog"}
    assert source.roles == {"deep/d.png": "test"}
    assert source.groups == {"a.png": "p1", "deep/d.png": "p2"}
    assert source.classes == ("cat", "dog")
    assert source.load("deep/d.png").shape == (4, 4, 3)


def test_csv_with_another_root_and_absolute_paths(photos, tmp_path):
    (tmp_path / "list.csv").write_text(f"file\n{photos}/a.png\nb c.png\ngone.png\n")
    source = open_source(tmp_path / "list.csv", root=photos)
    assert source.ids == ("a.png", "b c.png")
    assert source.truth == {}
    assert "1 listed image(s) are not there: 'gone.png'" in source.notes()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file\n../secret.png\n", r"row 2: path '\.\./secret\.png' leaves the data root"),
        ("file\n/etc/passwd\n", "no column of labels"),
        ("file\nx.png\ny.png\n", "none of its 2 files exists"),
        ("file\n", "no column of labels|lists no image"),
        ("file,label\na.png,x\na.png,y\n", "row 3: 'a.png' has 'y' here and 'x' in row 2; keep one"),
        ("file,split\na.png,tset\n", "row 2 'tset': did you mean 'test'"),
        ("file,label\n,x\n", "row 2: no image is named"),
    ],
)
def test_bad_listings_are_refused(photos, text, match):
    (photos / "list.csv").write_text(text)
    with pytest.raises(DataError, match=match) as error:
        open_source(photos / "list.csv")
    assert "\n" not in str(error.value)


def test_labels_for_a_flat_folder(photos):
    (photos / "labels.csv").write_text("a.png,cat\ndeep/d.png,dog\n")
    source = open_source(photos / "labels.csv")
    assert source.truth == {"a.png": "cat", "deep/d.png": "dog"}
    assert source.ids == ("a.png", "deep/d.png")
    assert source.root == photos
    (photos / "labels.csv").write_text("x.png,cat\n")
    with pytest.raises(DataError, match=r"none of its|'x\.png' is none of the 3 images"):
        open_source(photos / "labels.csv")


def test_package_module_name(tmp_path, monkeypatch):
    (tmp_path / "my_pets.py").write_text(
        "import numpy as np\n"
        "from labelwise.data import ArraySource\n"
        "ITEMS = [(np.zeros((4, 4), np.uint8), 'cat')]\n"
        "def load(count=2): return ArraySource(np.zeros((count, 4, 4), np.uint8))\n"
        "class Pets:\n"
        "    def __len__(self): return 3\n"
        "    def __getitem__(self, n): return np.full((4, 4), n, np.uint8)\n"
        "NUMBER = 5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(open_source("my_pets:load").ids) == 2
    assert len(open_source("my_pets:load", count=7).ids) == 7
    assert len(open_source("my_pets:Pets").ids) == 3
    assert open_source("my_pets:ITEMS").truth["0"] == "cat"
    with pytest.raises(ConfigError, match="unknown option of 'my_pets:load' 'cuont': did you mean 'count'"):
        open_source("my_pets:load", cuont=7)
    with pytest.raises(ConfigError, match="'my_pets:NUMBER' gives an object of type int"):
        open_source("my_pets:NUMBER")
    with pytest.raises(ConfigError, match="cannot import 'my_pets:nothing'"):
        open_source("my_pets:nothing")


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ("", ConfigError, "no data were named"),
        ("nowhere", DataError, "'nowhere' does not exist: give a folder"),
        ("torchvision:CIFAR11", ConfigError, "did you mean 'CIFAR10'"),
        (5, ConfigError, "gives an object of type int"),
        ({"a": 1}, ConfigError, "gives an object of type dict"),
    ],
)
def test_what_names_no_source(spec, error, match):
    with pytest.raises(error, match=match):
        open_source(spec)


def test_a_file_that_is_no_source_and_unknown_options(photos):
    (photos / "notes.md").write_text("x")
    with pytest.raises(DataError, match="holds no set of images"):
        open_source(photos / "notes.md")
    with pytest.raises(DataError, match="holds no set of images"):
        open_source(photos / "a.png")
    with pytest.raises(ConfigError, match="did you mean 'labels'"):
        open_source(photos, label="none")


def test_the_package_loads_without_numpy():
    code = "import sys, labelwise.data, labelwise.contracts.source, labelwise.formats; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_every_public_name_is_there():
    import labelwise.data

    for name in labelwise.data.__all__:
        assert getattr(labelwise.data, name) is not None
    with pytest.raises(AttributeError):
        labelwise.data.nothing  # noqa: B018
