import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import FormatError
from labelwise.formats.predictions_npz import Expected, Predictions, read_predictions, write_predictions

IDS = ("a.png", "b.png", "c.png")
PROBS = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]], np.float32)


def put(tmp_path, **arrays):
    arrays = {"ids": IDS, "probs": PROBS} | arrays
    path = tmp_path / "p.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_rows_come_back_in_the_order_of_ids(tmp_path):
    path = put(tmp_path, ids=["c.png", "a.png", "b.png"], embeddings=np.arange(6).reshape(3, 2))
    found = read_predictions(path, Expected(ids=IDS, classes=("x", "y"), width=2))
    assert found.ids == IDS
    assert found.probs_NC.tolist() == PROBS[[1, 2, 0]].tolist()
    assert found.embeddings_ND.tolist() == [[2, 3], [4, 5], [0, 1]]
    assert found.probs_NC.dtype == found.embeddings_ND.dtype == np.float32
    assert found.classes == ("x", "y")


def test_columns_follow_the_projects_classes(tmp_path):
    found = read_predictions(put(tmp_path, classes=["dog", "cat"]), Expected(classes=("cat", "dog")))
    assert found.probs_NC[1].tolist() == [0.75, 0.25]
    assert read_predictions(put(tmp_path, classes=["dog", "cat"])).classes == ("dog", "cat")


def test_bytes_and_numbers_as_ids(tmp_path):
    assert read_predictions(put(tmp_path, ids=np.array([b"a", b"c", b"b"]))).ids == ("a", "b", "c")
    assert read_predictions(put(tmp_path, ids=np.array([7, 8, 9]))).ids == ("7", "8", "9")


def test_embeddings_alone_and_a_subset(tmp_path):
    path = put(tmp_path, probs=None, embeddings=np.ones((3, 4), np.float16))
    found = read_predictions(path, Expected(ids=[*IDS, "d.png"], subset=True))
    assert found.probs_NC is None
    assert found.embeddings_ND.shape == (3, 4)


def test_sigmoid_probabilities_need_not_sum_to_one(tmp_path):
    path = put(tmp_path, probs=np.ones((3, 2)))
    assert read_predictions(path, Expected(exclusive=False)).probs_NC.sum() == 6
    with pytest.raises(FormatError, match=r"'a\.png' \(row 0\) sum to 2 \(2 more rows likewise\)"):
        read_predictions(path)


def changed(row, column, value):
    probs = PROBS.copy()
    probs[row, column] = value
    return probs


@pytest.mark.parametrize(
    ("arrays", "expected", "match"),
    [
        ({"probs": None}, {}, "holds ids: needed are ids and probs or embeddings"),
        ({"ids": None}, {}, "holds probs: needed are ids"),
        ({"probs": changed(1, 0, np.nan)}, {}, r"probs of 'b\.png' \(row 1\) hold nan"),
        ({"probs": changed(1, 0, -np.inf)}, {}, "hold -inf"),
        ({"probs": changed(2, 1, -0.5)}, {}, r"'c\.png' \(row 2\) hold -0\.5"),
        ({"probs": changed(1, 0, 0.26)}, {}, r"'b\.png' \(row 1\) sum to 1\.01; "),
        ({"probs": np.array([[3.0, -2.0]] * 3)}, {}, "not logits"),
        ({"probs": PROBS[:2]}, {}, "probs have 2 rows for 3 ids"),
        ({"probs": PROBS[:, 0]}, {}, r"shape \(3,\)"),
        ({"probs": PROBS.astype(str)}, {}, "give numbers"),
        ({"probs": np.ones((3, 0))}, {}, r"shape \(3, 0\)"),
        ({}, {"classes": ("x", "y", "z")}, "2 columns, the project has 3 classes"),
        ({"classes": ["x"]}, {}, "2 columns, the file names 1 classes"),
        ({"classes": ["x", "q"]}, {"classes": ("x", "y")}, "class 'q' does not fit"),
        ({"embeddings": np.ones((3, 4))}, {"width": 8}, "embeddings have 4 features, the cached ones have 8"),
        ({"embeddings": np.ones((2, 4))}, {}, "embeddings have 2 rows"),
        ({"embeddings": np.full((3, 1), np.nan)}, {}, "embeddings of 'a.png' .row 0. hold nan"),
        ({"embeddings": np.full((3, 1), 1e300)}, {}, "too large for float32"),
        ({"ids": ["a.png", "b.png", "a.png"]}, {}, "'a.png' is given twice"),
        ({"ids": ["a.png", "b.png", "c.jpg"]}, {"ids": IDS}, r"unknown id 'c\.jpg' \(nearest: 'c\.png'\)"),
        ({}, {"ids": [*IDS, "d.png"]}, r"3 ids for 4 images, 'd\.png' is the first without a row"),
        ({"ids": np.zeros((3, 1))}, {}, "ids has type float64"),
        ({"ids": np.array(IDS, dtype=object)}, {}, "never loaded"),
        ({"ids": [], "probs": np.ones((0, 2))}, {}, "ids"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, arrays, expected, match):
    with pytest.raises(FormatError, match=match) as error:
        read_predictions(put(tmp_path, **arrays), Expected(**expected))
    assert "\n" not in str(error.value)
    assert "p.npz" in str(error.value)


@settings(max_examples=30)
@given(
    ids=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    seed=st.integers(0, 99),
)
def test_round_trip(tmp_path_factory, ids, seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), len(ids)).astype(np.float32)
    embeddings = rng.normal(size=(len(ids), 4)).astype(np.float32)
    given_ = Predictions(tuple(sorted(ids)), probs, embeddings, ("x", "y", "z"))
    path = tmp_path_factory.mktemp("npz") / "p.npz"
    write_predictions(path, given_)
    found = read_predictions(path, Expected(ids=set(ids), classes=("x", "y", "z"), width=4))
    assert found.ids == given_.ids
    assert found.classes == given_.classes
    assert np.array_equal(found.probs_NC, probs)
    assert np.array_equal(found.embeddings_ND, embeddings)
