"""Superpixels as items: how images are cut, what simulated annotators answer, what readers of images see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.data import ArraySource
from labelwise.data.mask_labels import mask_of, raw_of
from labelwise.data.regions import Regions
from labelwise.data.superpixels import Superpixels
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError, PoolError
from labelwise.kinds.clicks import polygon_clicks


def street(rng, height=24, width=36):
    """An image whose right half is bright, and its mask: 0 left, 1 right, a square of 2, a column without a class."""
    image = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
    image[:, width // 2 :] += 180
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    mask[2:8, 2:8] = 2
    mask[:, -1] = IGNORE
    return image, mask


def images_with_masks(count=3, seed=0):
    rng = np.random.default_rng(seed)
    pairs = [street(rng) for _ in range(count)]
    source = ArraySource(np.stack([image for image, _ in pairs]))
    truth = {
        item: raw_of(Mask(torch.from_numpy(mask), (36, 24))) for item, (_, mask) in zip(source.ids, pairs, strict=True)
    }
    roles = {source.ids[-1]: "test"}
    return View(source, truth=truth, roles=roles, classes=("left", "right", "square")), [mask for _, mask in pairs]


@pytest.mark.parametrize("method", ["watershed", "slic"])
@pytest.mark.parametrize("shape", [(24, 36, 3), (24, 36, 1), (1, 1, 3), (2, 50, 3)])
def test_regions_are_numbered_without_a_gap_and_hold_together(method, shape):
    from skimage.measure import label

    image = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    regions = Superpixels(method, count=12).cut(image)
    assert regions.shape == shape[:2]
    assert np.array_equal(np.unique(regions), np.arange(1, regions.max() + 1))
    assert (regions == Superpixels(method, count=12).cut(image)).all()
    for number in range(1, regions.max() + 1):
        assert label(regions == number, connectivity=2).max() == 1


def test_the_published_number_of_watershed_labels():
    # specified for 2,048 x 1,024 pixels: seeds on a regular grid, so that 100 become 98; the content decides nothing
    noise = np.random.default_rng(0).integers(0, 255, (64, 128, 3)).astype(np.uint8)
    image = np.kron(noise, np.ones((4, 4, 1), np.uint8))
    for aimed, found in ((20, 18), (50, 50), (100, 98), (200, 200)):
        assert Superpixels(count=aimed, compactness=0.001, std=(0.18,)).cut(image).max() == found


def test_a_region_is_an_item_below_its_image():
    source, _ = images_with_masks()
    regions = Regions(source, Superpixels(count=6))
    assert set(source.ids) <= set(regions.ids)
    assert list(regions.ids) == sorted(regions.ids)
    assert not any(item.startswith(f"{source.ids[-1]}#") for item in regions.ids), "test images are not cut"
    region = f"{source.ids[0]}#2"
    digest = Superpixels(count=6).digest
    assert regions.within(region) == (source.ids[0], f"map:{digest}#2")
    assert regions.within(source.ids[0]) == (source.ids[0], None)
    inside, (x, y) = regions.outline(region)
    assert regions.load(region).shape[:2] == inside.shape
    assert np.array_equal(
        regions.load(region), source.load(source.ids[0])[y : y + len(inside), x : x + inside.shape[1]]
    )
    assert inside.sum() == (regions.map_of(source.ids[0]) == 2).sum()
    assert regions.size(region) == (36, 24)
    assert len(set(regions.content(regions.ids))) == len(regions.ids)
    with pytest.raises(PoolError, match="its regions are 1 to"):
        regions.number(f"{source.ids[0]}#99")
    with pytest.raises(PoolError, match="IMAGE#NUMBER"):
        regions.number("nowhere")


def slow_answer(mask, inside, annotate):
    """Pixel by pixel."""
    answer = np.full_like(mask, IGNORE)
    touched = {int(v) for v in mask[inside]}
    seen = [int(v) for v in mask[inside] if v != IGNORE]
    for y, x in np.ndindex(mask.shape):
        if annotate == "pixels" and inside[y, x]:
            answer[y, x] = mask[y, x]
        elif annotate == "dominant" and inside[y, x] and seen:
            answer[y, x] = min(set(seen), key=lambda value: (-seen.count(value), value))
        elif annotate == "instances" and int(mask[y, x]) in touched:
            answer[y, x] = mask[y, x]
    return answer


@pytest.mark.parametrize("annotate", ["pixels", "dominant", "instances"])
def test_what_simulated_annotators_answer(annotate):
    source, masks = images_with_masks()
    regions = Regions(source, Superpixels(count=6), annotate=annotate)
    for image, mask in zip(source.ids[:2], masks, strict=False):
        for number in range(1, regions.counts[image] + 1):
            raw = regions.truth[f"{image}#{number}"]
            expected = slow_answer(mask, regions.map_of(image) == number, annotate)
            assert np.array_equal(mask_of(raw).whole().numpy(), expected)
            price = regions.price(f"{image}#{number}")["clicks"]
            assert price == 1 if annotate == "dominant" else price >= 1
        assert regions.truth[image] == source.truth[image]
        assert regions.price(image) == {}


def test_regions_of_an_image_together_say_what_its_mask_says():
    source, masks = images_with_masks()
    regions = Regions(source, Superpixels(count=9))
    image = source.ids[0]
    parts = [mask_of(regions.truth[f"{image}#{n}"]) for n in range(1, regions.counts[image] + 1)]
    assert np.array_equal(Mask.join(parts).whole().numpy(), masks[0])
    some = Mask.join(parts[:2]).whole().numpy()
    asked = np.isin(regions.map_of(image), (1, 2))
    assert np.array_equal(some[asked], masks[0][asked])
    assert (some[~asked] == IGNORE).all()


def test_maps_are_cut_once_and_found_again(tmp_path, monkeypatch):
    source, _ = images_with_masks()
    first = Regions(source, Superpixels(count=6), folder=tmp_path)
    maps = {image: first.map_of(image) for image in first.counts}
    monkeypatch.setattr(Superpixels, "cut", lambda *_: pytest.fail("cut again"))
    again = Regions(source, Superpixels(count=6), folder=tmp_path)
    assert again.counts == first.counts
    assert all(np.array_equal(again.map_of(image), found) for image, found in maps.items())


def test_an_image_that_cannot_be_read_has_no_regions():
    source, _ = images_with_masks()
    broken = source.ids[0]

    class Broken(View):
        def load(self, item_id):
            if item_id == broken:
                raise DataError("cut off")
            return super().load(item_id)

    regions = Regions(Broken(source), Superpixels(count=6))
    assert regions.counts[broken] == 0
    assert broken in regions.ids


def test_an_image_named_like_a_region_is_refused():
    source, _ = images_with_masks()
    images = np.stack([source.load(item) for item in source.ids[:2]])
    named = ArraySource(images, ids=["a", "a#1"])
    with pytest.raises(DataError, match="rename"):
        Regions(named, Superpixels(count=4))


@pytest.mark.parametrize(
    "options", [{"method": "grid"}, {"count": 0}, {"count": 70_000}, {"compactness": -1.0}, {"std": (0.0,)}]
)
def test_settings_that_cut_nothing_are_refused(options):
    with pytest.raises(ConfigError, match=r"give|use"):
        Superpixels(**options)


def test_clicks_to_draw_a_mask():
    def clicks(rows):
        return polygon_clicks(np.array(rows, np.uint8))

    assert clicks([[IGNORE, IGNORE]]) == 0
    assert clicks([[0, 0, 0], [0, 0, 0]]) == 4
    assert clicks([[0, 0, 1, 1], [0, 0, 1, 1]]) == 8
    # two areas of one class that do not touch are two polygons
    assert clicks([[0, 0, IGNORE, 0, 0], [0, 0, IGNORE, 0, 0]]) == 8
    size = 101
    y, x = np.mgrid[:size, :size] - size // 2
    disc = np.where(y**2 + x**2 < 40**2, 0, IGNORE).tolist()
    assert 10 <= clicks(disc) <= 40
    assert polygon_clicks(np.array(disc, np.uint8), 4.0) < clicks(disc)
    assert polygon_clicks(np.zeros((0, 0), np.uint8)) == 0
