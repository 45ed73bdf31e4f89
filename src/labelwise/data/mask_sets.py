"""Published layouts of masks as sources: PASCAL VOC, Cityscapes, COCO; and which of them a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.contracts.source import Role
from labelwise.data.boxes import BoxFolder, open_boxes, open_coco_file, voc_roles
from labelwise.data.masks import MaskFolder, MaskTruth, has_pairs, open_pairs
from labelwise.data.views import View
from labelwise.errors import DataError, FormatError
from labelwise.formats import cityscapes, coco_masks, voc_masks
from labelwise.formats.index_png import mask_text
from labelwise.formats.mask_coding import find_coding
from labelwise.formats.scan import scan_folder
from labelwise.formats.voc import read_lists, stem

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["masks", "voc_masks", "cityscapes", "coco_masks"]


def mask_kinds_of(folder: Path) -> list[Kind]:
    """Which layouts of PNG masks a folder seems to hold; looks at names only."""
    if (folder / cityscapes.IMAGES).is_dir() and (folder / cityscapes.MASKS).is_dir():
        return ["cityscapes"]
    found: list[Kind] = []
    if (folder / voc_masks.MASKS).is_dir() and next((folder / voc_masks.MASKS).rglob("*.png"), None) is not None:
        found.append("voc_masks")
    return [*found, "masks"] if has_pairs(folder) else found


def open_masks(folder: str | os.PathLike[str], kind: Kind, *, ids: Sequence[str] | None = None) -> MaskFolder | View:
    """A folder of images with masks.

    ``masks``: see :func:`labelwise.data.masks.open_pairs`. ``voc_masks``: ``JPEGImages``, ``SegmentationClass`` and
    ``ImageSets/Segmentation``; classes are those of ``labelmap.txt`` or ``class_names.txt``, else VOC's.
    ``cityscapes``: ``leftImg8bit`` and ``gtFine``, in train ids or else in label ids; cities are groups, and as nobody
    has the labels of its test images, val is what is tested on. ``coco_masks``: instances, painted over each other.

    Args:
        folder: the data set.
        kind: its layout.
        ids: the images, when they and their labels are known already; nothing else is read then.

    Raises:
        DataError: no such folder, no image, masks without image, or labels that cannot be read. A mask itself is read
            when its label is asked for.
    """
    root = Path(os.path.abspath(folder))  # noqa: PTH100  (as ImageFolder)
    if kind == "coco_masks":
        return CocoMaskView(open_boxes(root, "coco", ids=ids))
    return {"masks": open_pairs, "voc_masks": _open_voc, "cityscapes": _open_cityscapes}[kind](root, ids)


# ---- VOC ------------------------------------------------------------------------------------------------------------


def _open_voc(root: Path, ids: Sequence[str] | None) -> MaskFolder:
    place = next((root / name for name in ("JPEGImages", "images") if (root / name).is_dir()), None)
    if place is None or not (root / voc_masks.MASKS).is_dir():
        what = "JPEGImages" if place is None else voc_masks.MASKS
        raise DataError(f"{str(root)!r} has no folder {what}: masks as VOC has them need both images and masks")
    if ids is not None:
        return MaskFolder(place, ids=ids)
    scan = scan_folder(place)
    source = MaskFolder(place, ids=scan.ids)
    source.left_out(scan)
    of_stem: dict[str, str] = {}
    for item in source.ids:
        if (other := of_stem.setdefault(stem(item), item)) != item:
            raise DataError(f"{str(place)!r}: {other!r} and {item!r} differ in their ending only; rename one of them")
    coding = find_coding(root) or voc_masks.VOC
    files = _files_of(root / voc_masks.MASKS, of_stem, place)
    source.describe(MaskTruth(source, files, coding.read), coding)
    source.objects = {
        item: file
        for item, mask in files.items()
        if (file := root / voc_masks.OBJECTS / mask.relative_to(root / voc_masks.MASKS)).is_file()
    }
    source.roles = voc_roles(read_lists(root / voc_masks.LISTS), of_stem, root / voc_masks.LISTS)
    return source


def _files_of(masks: Path, of_stem: Mapping[str, str], images: Path) -> dict[str, Path]:
    files = {}
    for file in (masks / name for name in scan_folder(masks).ids):
        if file.suffix.lower() != ".png":
            raise FormatError(f"{str(file)!r} lies among the masks and is no PNG: masks need a lossless format")
        name = file.relative_to(masks).with_suffix("").as_posix()
        if name not in of_stem:
            raise FormatError(
                f"{str(file)!r} is a mask without image: there is no {name!r} in {str(images)!r}; add it, or delete "
                "the mask"
            )
        files[of_stem[name]] = file
    return files


# ---- Cityscapes -----------------------------------------------------------------------------------------------------


def _open_cityscapes(root: Path, ids: Sequence[str] | None) -> MaskFolder:
    place = root / cityscapes.IMAGES
    if not place.is_dir() or not (root / cityscapes.MASKS).is_dir():
        raise DataError(
            f"{str(root)!r} is no Cityscapes: it needs the folders {cityscapes.IMAGES} and {cityscapes.MASKS}"
        )
    if ids is not None:
        return MaskFolder(place, ids=ids)
    scan = scan_folder(place)
    tops = {item.partition("/")[0] for item in scan.ids}
    # nobody but its makers has the labels of Cityscapes' test images
    kept = [item for item in scan.ids if not ("val" in tops and item.startswith("test/"))]
    source = MaskFolder(place, ids=kept)
    source.left_out(scan)
    frames = {item.rpartition(".")[0].removesuffix("_leftImg8bit"): item for item in scan.ids}
    files, objects = _frames_of(root / cityscapes.MASKS, frames, tops)
    read = {item: file for item, file in files.items() if item in set(kept)}
    left = len(scan.ids) - len(kept)
    said = (
        [f"{left:,} image(s) of test left out: their labels are not public, val is what is tested on"] if left else []
    )
    source.describe(
        MaskTruth(source, read, lambda file: cityscapes.coding_of_file(file).read(file)), cityscapes.BY_TRAIN_ID, said
    )
    source.objects = objects
    roles: dict[str, Role] = {item: "test" for item in kept if item.startswith(("val/", "test/"))}
    source.roles = roles
    source.groups = _cities(kept)
    return source


def _cities(ids: Sequence[str]) -> dict[str, str]:
    """Cities as groups, as long as each lies in one split: a group is never trained and tested on."""
    cities = {item: item.split("/")[-2] for item in ids if item.count("/") >= 2}
    splits: dict[str, set[str]] = {}
    for item, city in cities.items():
        splits.setdefault(city, set()).add(item.partition("/")[0])
    return {item: city for item, city in cities.items() if len(splits[city]) == 1}


def _frames_of(masks: Path, frames: Mapping[str, str], tops: set[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Image -> mask in train ids, else in label ids; and image -> numbers of instances."""
    found: dict[str, dict[str, Path]] = {cityscapes.TRAIN_IDS: {}, cityscapes.IDS: {}, cityscapes.INSTANCES: {}}
    for name in scan_folder(masks).ids:
        ending = next((ending for ending in found if name.endswith(ending)), None)
        if ending is None or name.partition("/")[0] not in tops:
            continue  # pictures in colour, polygons, and splits whose images were not fetched
        frame = name.removesuffix(ending)
        if frame not in frames:
            raise FormatError(
                f"{str(masks / name)!r} is a mask without image: there is no {frame + cityscapes.IMAGE!r} in "
                f"{cityscapes.IMAGES}; add it, or delete the mask"
            )
        found[ending][frames[frame]] = masks / name
    return {**found[cityscapes.IDS], **found[cityscapes.TRAIN_IDS]}, found[cityscapes.INSTANCES]


# ---- COCO -----------------------------------------------------------------------------------------------------------


class CocoMaskView(View):
    """The images of COCO files, with the instances of each painted into one mask.

    Args:
        boxes: the images with their instances.

    Raises:
        FormatError: an instance without mask, or with a polygon outside its image.
    """

    def __init__(self, boxes: BoxFolder) -> None:
        where = str(boxes.root)
        thin = sum(coco_masks.check_masks(label, f"{where!r}, {item!r}") for item, label in boxes.truth.items())
        painter = coco_masks.Painter.of(boxes.classes or (), boxes.truth.values(), boxes.info)
        super().__init__(boxes, classes=painter.classes if boxes.truth else None, truth=_Painted(boxes.truth, painter))
        self.numbers, self.categories = boxes.numbers, boxes.categories
        bare = len(boxes.ids) - len(boxes.truth)
        counted = {
            "{n} polygon(s) of fewer than three corners: they cover nothing": thin,
            "{n} image(s) without mask": bare if boxes.truth else 0,
        }
        self._said = [text.format(n=f"{count:,}") for text, count in counted.items() if count]

    def notes(self) -> list[str]:
        """What the scan left out, and what is odd about the masks."""
        assert isinstance(self.source, BoxFolder)
        return [*self.source.scan.notes(), *self._said]

    def instances(self, item_id: str) -> np.ndarray | None:
        """(H, W) the number of the instance that is seen at each pixel."""
        label = self.source.truth.get(item_id)
        return None if label is None else coco_masks.instances(label)


class _Painted(Mapping[str, Any]):
    """Raw labels of masks out of those of objects, each painted when it is asked for."""

    def __init__(self, labels: Mapping[str, Any], painter: coco_masks.Painter) -> None:
        self._labels, self._painter = labels, painter

    def __getitem__(self, item_id: str) -> dict[str, Any]:
        label = self._labels[item_id]
        return {"size": list(label["size"]), "png": mask_text(self._painter.indices(label))}

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._labels

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


def open_coco_masks(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, ids: Sequence[str] | None = None
) -> CocoMaskView:
    """The images of one COCO file with masks; see :func:`labelwise.data.boxes.open_coco_file`.

    Raises:
        DataError: as there, and for an instance that cannot be painted.
    """
    return CocoMaskView(open_coco_file(path, root=root, ids=ids))
