import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.folder import ImageFolder
from labelwise.errors import ConfigError, DataError
from labelwise.formats.scan import scan_folder


def put(root, *names, value=0):
    for n, name in enumerate(names):
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5), (value + n) % 256, np.uint8)).save(path)


def test_flat_folder_has_ids_in_string_order_and_no_truth(tmp_path):
    put(tmp_path, "b.png", "a10.png", "a2.png", "Z.JPG")
    source = ImageFolder(tmp_path)
    assert source.ids == ("Z.JPG", "a10.png", "a2.png", "b.png")
    assert source.truth == {}
    assert source.classes is None
    assert source.roles == {}
    assert source.load("b.png").shape == (4, 5, 1)
    assert source.path("b.png") == str(tmp_path / "b.png")
    assert source.batch(["b.png"]) is None


def test_one_folder_per_class(tmp_path):
    put(tmp_path, "dog/1.png", "cat/1.png", "cat/2.png", "10/x.png", "9/x.png")
    source = ImageFolder(tmp_path)
    assert source.classes == ("10", "9", "cat", "dog")
    assert source.truth["cat/2.png"] == "cat"
    assert len(source.truth) == 5


@pytest.mark.parametrize(
    "names",
    [
        ("cat/1.png", "cat/2.png"),  # one folder only
        ("cat/1.png", "dog/1.png", "stray.png", "2.png", "3.png"),  # as many images beside the folders as in them
        ("cat/1.png", "dog/deep/1.png"),  # an image too deep
    ],
)
def test_what_breaks_the_rule_has_no_labels_unless_forced(tmp_path, names):
    put(tmp_path, *names)
    assert ImageFolder(tmp_path).truth == {}
    forced = ImageFolder(tmp_path, labels="folders")
    assert forced.truth["cat/1.png"] == "cat"
    assert "stray.png" not in forced.truth
    assert forced.truth.get("dog/deep/1.png", "dog") == "dog"


def test_labels_can_be_switched_off(tmp_path):
    put(tmp_path, "cat/1.png", "dog/1.png")
    source = ImageFolder(tmp_path, labels="none")
    assert source.truth == {}
    assert source.classes is None


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_folders_become_roles(tmp_path, validation):
    put(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{validation}/cat/2.png", "test/dog/3.png")
    source = ImageFolder(tmp_path)
    assert source.roles == {
        "train/cat/1.png": "pool",
        "train/dog/1.png": "pool",
        f"{validation}/cat/2.png": "validation",
        "test/dog/3.png": "test",
    }
    assert source.classes == ("cat", "dog")
    assert source.truth[f"{validation}/cat/2.png"] == "cat"


def test_flat_test_folder_beside_labelled_training_folder(tmp_path):
    put(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    source = ImageFolder(tmp_path)
    assert source.truth == {"train/cat/1.png": "cat", "train/dog/1.png": "dog"}
    assert source.roles["test/1.png"] == "test"


def test_a_class_called_train_is_a_class(tmp_path):
    put(tmp_path, "train/1.png", "bus/1.png", "test/1.png")
    source = ImageFolder(tmp_path)
    assert source.roles == {}
    assert source.classes == ("bus", "test", "train")
    forced = ImageFolder(tmp_path, roles="folders")
    assert forced.roles == {"train/1.png": "pool", "test/1.png": "test"}


def test_roles_can_be_switched_off(tmp_path):
    put(tmp_path, "train/1.png", "test/1.png")
    assert ImageFolder(tmp_path, roles="none").classes == ("test", "train")


@pytest.mark.parametrize("option", ["labels", "roles"])
def test_unknown_mode_names_the_nearest(tmp_path, option):
    put(tmp_path, "a.png")
    with pytest.raises(ConfigError, match="did you mean 'folders'"):
        ImageFolder(tmp_path, **{option: "folder"})


def test_awkward_names_work(tmp_path):
    names = sorted(
        ["a b.png", "q'uo\"te.png", "com,ma.png", "new\nline.png", "\xe9\u4e2d\U0001f600.png", "=1+1.png", "a#b.png"]
    )
    put(tmp_path, *names)
    source = ImageFolder(tmp_path)
    assert list(source.ids) == names
    for name in names:
        assert source.load(name).shape == (4, 5, 1)
    assert "" not in source.content(source.ids)


def test_undecodable_name_is_reported_and_left_out(tmp_path):
    put(tmp_path, "good.png")
    try:
        (tmp_path / os.fsdecode(b"bad\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    source = ImageFolder(tmp_path)
    assert source.ids == ("good.png",)
    assert source.scan.unnameable == ("'bad\\udcff.png'",)
    assert "bad\\udcff.png" in source.scan.notes()[0]


def test_other_and_hidden_files_are_counted(tmp_path):
    put(tmp_path, "a.png", ".hidden.png", ".thumbs/b.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "movie.MP4").write_text("x")
    (tmp_path / "noending").write_text("x")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    scan = scan_folder(tmp_path)
    assert scan.ids == ("a.png",)
    assert scan.hidden == 2
    assert scan.ignored[".txt"] == scan.ignored[".mp4"] == scan.ignored[""] == 1
    assert sum(scan.ignored.values()) == 5
    assert len(scan.notes()) == 2


def test_links_are_followed_once_and_loops_end(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(root, "real/a.png")
    put(outside, "b.png")
    (root / "again").symlink_to(root / "real")
    (root / "real" / "loop").symlink_to(root)
    (root / "other").symlink_to(outside)
    (outside / "back").symlink_to(root)
    (root / "link.png").symlink_to(outside / "b.png")
    assert scan_folder(root).ids == ("link.png", "other/b.png", "real/a.png")


def test_two_links_to_one_folder_give_the_first_name_in_order(tmp_path):
    put(tmp_path / "outside", "a.png")
    root = tmp_path / "root"
    root.mkdir()
    for name in ("z", "b", "m"):
        (root / name).symlink_to(tmp_path / "outside")
    assert scan_folder(root).ids == ("b/a.png",)


def test_unreadable_sub_folder_is_reported(tmp_path, monkeypatch):
    put(tmp_path, "open/a.png", "closed/b.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    source = ImageFolder(tmp_path)
    assert source.ids == ("open/a.png",)
    assert source.scan.notes() == ["sub-folder 'closed' cannot be read (Permission denied): its images are left out"]
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        ImageFolder(tmp_path / "closed")


def test_errors_are_one_line_and_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "heic").mkdir()
    (tmp_path / "heic" / "a.HEIC").write_text("x")
    for name, match in [
        ("gone\nfolder", "does not exist"),
        ("file", "is a file, not a folder"),
        ("empty", r"no images .* \.jpg .* it is empty"),
        ("heic", r"no images .* 1 \.heic"),
    ]:
        with pytest.raises(DataError, match=match) as error:
            ImageFolder(tmp_path / name)
        assert "\n" not in str(error.value)


def test_content_is_blake2b_of_the_bytes_and_empty_for_missing(tmp_path):
    names = [f"{n:04d}.png" for n in range(600)]
    (tmp_path / "x").mkdir()
    for n, name in enumerate(names):
        (tmp_path / "x" / name).write_bytes(b"%d" % n)
    source = ImageFolder(tmp_path / "x")
    digests = source.content([*source.ids, "gone.png"])
    assert digests[-1] == ""
    assert digests[5] == hashlib.blake2b(b"5", digest_size=16).hexdigest()
    assert len(set(digests)) == 601


def test_stat_key_follows_the_file(tmp_path):
    put(tmp_path, "a.png")
    source = ImageFolder(tmp_path)
    before = source.stat_key(["a.png", "gone.png"])
    assert before[1] == ""
    put(tmp_path, "a.png", value=77)
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert source.stat_key(["a.png"]) != before[:1]


def test_missing_file_is_named_by_its_id(tmp_path):
    put(tmp_path, "cats/a.png", "dogs/b.png")
    source = ImageFolder(tmp_path)
    (tmp_path / "cats/a.png").unlink()
    with pytest.raises(DataError, match=r"'cats/a\.png': no such file"):
        source.load("cats/a.png")


def test_thumbnail(tmp_path):
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(tmp_path / "a.jpg")
    assert ImageFolder(tmp_path).thumbnail("a.jpg", 30).shape == (20, 30, 3)


def test_order_of_listing_changes_nothing(tmp_path, monkeypatch):
    put(tmp_path, "b/1.png", "a/2.png", "a/1.png")
    expected = ImageFolder(tmp_path)
    real = os.scandir

    class Reversed:
        def __init__(self, path):
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *args):
            return None

    monkeypatch.setattr(os, "scandir", Reversed)
    found = ImageFolder(tmp_path)
    assert found.ids == expected.ids
    assert found.truth == expected.truth
