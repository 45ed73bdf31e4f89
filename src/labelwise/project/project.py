"""A project: images, people who label, and what to label next. The command line is a thin skin over this."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
import yaml

from labelwise.assemble import check_kind, cut_into_regions, make_features, make_learner, make_strategy, make_task
from labelwise.campaign.events import Added, Cleared, Event, Labelled, Skipped, added
from labelwise.campaign.fits import Fits, Fitted
from labelwise.campaign.loop import Campaign
from labelwise.campaign.pool import Pool
from labelwise.campaign.records import Mistakes, RoundRecord
from labelwise.campaign.setting import Setting, class_counts, labelled
from labelwise.campaign.store import Store
from labelwise.config import PretrainConfig, ProjectConfig, StrategyConfig, parse, read_yaml, write_yaml
from labelwise.contracts.learner import Examples, Learner, Producer, Progress, silent
from labelwise.contracts.oracle import Answer, Pick, Round
from labelwise.contracts.query import Budget
from labelwise.contracts.signal import Signal, SignalTable
from labelwise.contracts.source import Source
from labelwise.contracts.strategy import Strategy
from labelwise.contracts.task import Task
from labelwise.data.open import open_in, task_of
from labelwise.data.remembered import Remembered
from labelwise.data.views import View as Relabelled
from labelwise.errors import ConfigError, DataError, FormatError, LabelwiseError, PoolError, StateError
from labelwise.exchange.boxes import asked_boxes, predicted_boxes, write_asked
from labelwise.exchange.labelled_set import write_boxes, write_classes, write_labelled_masks
from labelwise.exchange.masks import Asked, predicted_masks, write_asked_coco, write_asked_masks
from labelwise.formats.box_answers import read_box_answers
from labelwise.formats.coco_results import read_found_boxes
from labelwise.formats.detections import KnownImages
from labelwise.formats.labels_table import LabelTable, check_answers, named, read_labels
from labelwise.formats.mask_answers import KnownMasks, read_mask_answers
from labelwise.formats.mask_coding import MaskCoding, check_names
from labelwise.formats.picks_json import write_picks
from labelwise.formats.predictions_npz import Expected, read_predictions
from labelwise.formats.scores_csv import write_scores
from labelwise.formats.voc_masks import colours
from labelwise.learners.imported import FromFile, ImportedPredictions
from labelwise.learners.imported_detections import ImportedDetections
from labelwise.models.provenance import what_weights_saw
from labelwise.project.reading import in_one_range, keep_range
from labelwise.signals.cache import SignalCache
from labelwise.strategies import COLD_START
from labelwise.studies.settings import environment
from labelwise.tasks import TASKS

if TYPE_CHECKING:
    from labelwise.learners.pretraining import Pretrained, Pretraining

#: what picks are written as
Kind = Literal["csv", "json", "html", "coco", "voc", "yolo", "masks"]
KINDS: tuple[Kind, ...] = ("csv", "json", "html", "coco", "voc", "yolo", "masks")
#: what labels come back as, apart from tables of classes
LabelKind = Literal["coco", "voc", "yolo", "masks"]
BOXES: tuple[LabelKind, ...] = ("coco", "voc", "yolo")
MASKS: tuple[LabelKind, ...] = ("coco", "masks")
CONFIG_NAME = "labelwise.yaml"
STATE_NAME = ".labelwise"


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        labelled: items that got their first label.
        corrected: items whose label changed.
        skipped: items marked as not to be asked again.
        unanswered: rows without an answer.
        pending: items still waiting.
        classes: set when this import decided the project's classes.
        empty: labels without any object.
    """

    labelled: int
    corrected: int
    skipped: int
    unanswered: int
    pending: int
    classes: tuple[str, ...] = ()
    empty: int = 0


@dataclass
class Project:
    """One project on disk.

    Args:
        folder: holds ``labelwise.yaml`` and ``.labelwise``.
        progress: told on long work.
        say: told in words what the project waits for.

    Raises:
        StateError: no project there, or it cannot be opened.
    """

    folder: Path
    progress: Progress = silent
    say: Callable[[str], None] = field(default=lambda message: None)

    def __post_init__(self) -> None:
        self.config = parse(ProjectConfig, read_yaml(self.folder / CONFIG_NAME), where=CONFIG_NAME)
        self.store = Store(self.state)

    # ---- parts ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Path:
        """The ``.labelwise`` folder."""
        return self.folder / STATE_NAME

    @cached_property
    def pool(self) -> Pool:
        """The pool as it was when it was first asked for in this process."""
        return self.store.pool()

    @cached_property
    def source(self) -> Source:
        """The images, those the project knows of, and their regions where the project asks for regions."""
        images = [item.id for item in self.pool.items if item.region is None]
        opened = Remembered(open_images(self.config, self.folder, ids=images), self.store.content)
        maps = self.state / "regions"
        return cut_into_regions(self.config.regions, opened, self.config.task, folder=maps, progress=self.progress)

    def _join_regions(self) -> None:
        """Adds the regions of images that have none yet.

        Raises:
            StateError: regions are known that were cut otherwise.
        """
        ids = set(self.source.ids)
        known = (item for item in self.pool.items if item.region is not None)
        if stray := next((i for i in known if i.id not in ids or self.source.within(i.id)[1] != i.region), None):
            raise StateError(
                f"{stray.id!r} was cut by other settings than {CONFIG_NAME} has now: put 'regions' back as it was"
            )
        new = [added(self.source, item) for item in self.source.ids if item not in self.pool]
        if new:
            self.store.append(new)
            self.__dict__.pop("pool", None)

    @property
    def task(self) -> Task[Any]:
        """The kind of label.

        Raises:
            ConfigError: the classes are not known yet.
        """
        if not self.config.classes:
            raise ConfigError(
                f"this project does not know its classes yet: import labels, or add 'classes: [...]' to {CONFIG_NAME}"
            )
        return make_task(self.config.task, self.config.classes, self.config.input)

    @cached_property
    def features(self) -> Any:
        """The frozen feature source."""
        cache = SignalCache(self.state / "signals" / "features")
        folder = self.state / "backbone"
        return make_features(self.config.features, self.source, cache, folder=folder, base=self.folder)

    def campaign(self, predictions: Path | None = None) -> Campaign:
        """The loop over this project, on the project's learner or on imported predictions."""
        # before the first label any two names do: no strategy sees them
        classes = self.config.classes or ("unknown", "unknown too")
        task = make_task(self.config.task, classes, self.config.input)
        cache = SignalCache(self.state / "signals" / "task")
        learner: Learner
        frozen: Producer = _WhenRead(lambda: self.features)
        if predictions is None:
            own = self.features if self.config.learner.kind == "features" else None
            learner = make_learner(self.config.learner, task, own, base=self.folder)
        else:
            learner = self._imported(predictions)
            frozen = learner if "embedding" in learner.provides else frozen
        setting = Setting(
            self.source, task, learner, cache, fits=self.state / "fits", frozen=frozen, seed=self.config.seed
        )
        return Campaign(self.store, setting, progress=self.progress)

    @property
    def boxes(self) -> bool:
        """Whether labels are boxes, which travel in formats of their own."""
        return "boxes" in TASKS.get(self.config.task).provides

    @property
    def masks(self) -> bool:
        """Whether labels are masks, which travel in formats of their own."""
        return "map_embedding" in TASKS.get(self.config.task).provides

    @property
    def formats(self) -> tuple[LabelKind, ...]:
        """In which labels of this task travel, apart from tables of classes."""
        return BOXES if self.boxes else MASKS if self.masks else ()

    def _check_format(self, kind: Kind) -> None:
        if kind in (*BOXES, *MASKS) and kind not in self.formats:
            what = "boxes" if kind in BOXES else "masks"
            own = ["json", "masks"] if self.masks else ["json"]
            raise ConfigError(
                f"{kind} is a format of {what}, and this project is about {self.config.task}: use csv or "
                f"{' or '.join(own)}"
            )

    def _known_images(self, classes: tuple[str, ...], *, numbered: bool = False) -> KnownImages:
        """What files of boxes are held against; with the numbers of a COCO set where ``numbered``."""
        source = open_images(self.config, self.folder) if numbered else self.source
        numbers, categories = getattr(source, "numbers", {}), getattr(source, "categories", {})
        return KnownImages(frozenset(self.pool.ids), classes, self.source.size, numbers, categories, source.root)

    def _imported(self, path: Path) -> FromFile:
        if self.boxes and path.suffix.lower() != ".npz":
            known = self._known_images(self.config.classes, numbered=path.suffix.lower() == ".json")
            boxes = read_found_boxes(path, known)
            self._same_width(boxes.embedding_ND, path)
            return ImportedDetections(make_task(self.config.task, boxes.classes, self.config.input), boxes)
        expected = Expected(ids=self.pool.ids, classes=self.config.classes or None, subset=True)
        found = read_predictions(path, expected)
        self._same_width(found.embeddings_ND, path)
        if self.formats and found.probs_NC is not None:
            files = "a COCO results file or a folder of .txt, or " if self.boxes else ""
            raise DataError(
                f"{str(path)!r} holds class probabilities of images, and this project is about "
                f"{'boxes' if self.boxes else 'masks'}: give {files}an .npz with embeddings only"
            )
        names = self.config.classes or found.classes
        if not names:
            width = 2 if found.probs_NC is None else found.probs_NC.shape[1]
            names = tuple(f"class {i}" for i in range(width))
        task = make_task(self.config.task, names, self.config.input)
        return ImportedPredictions(task, found.ids, probs=found.probs_NC, embeddings=found.embeddings_ND)

    def _same_width(self, embeddings_ND: Any, path: Path) -> None:
        """Embeddings of two models do not mix: later files must have the width of the first."""
        if embeddings_ND is None:
            return
        note, width = self.state / "imported.json", embeddings_ND.shape[1]
        known = json.loads(note.read_text())["embedding_width"] if note.is_file() else width
        if known != width:
            raise FormatError(
                f"{str(path)!r}: embeddings have {width} features, the cached ones have {known}: use one model for all"
            )
        note.write_text(json.dumps({"embedding_width": width}))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Holds the project while a command changes it; what was read before may be old."""
        with self.store.lock(waiting=self.say):
            self.__dict__.pop("pool", None)
            yield
            self.__dict__.pop("pool", None)

    # ---- the loop with people ---------------------------------------------------------------------------------------

    def suggest(
        self,
        budget: int | Literal["all"] = 100,
        *,
        strategy: str | Strategy | None = None,
        options: Mapping[str, Any] | None = None,
        predictions: str | Path | None = None,
        fit: bool = True,
        more: bool = False,
    ) -> Round:
        """What to label next. While a round is open it returns that round's unanswered picks.

        Args:
            budget: how many; ``all`` ranks everything and asks nobody.
            strategy: a name or a ``Strategy``; the project's own by default.
            options: of a strategy given by name.
            predictions: what somebody else's model says: an .npz of probabilities or embeddings, or for boxes a COCO
                results file or a folder of YOLO .txt with confidences; no model is trained then.
            fit: train first if labels are newer than the weights.
            more: open another round although one is open.

        Raises:
            ConfigError: unknown strategy or option, a budget larger than the pool.
            UnmetNeed: the strategy needs what the learner cannot give; before anything is trained.
        """
        with self._changing():
            if len(self.pool.pending) and not more and budget != "all":
                return self._open_round()
            if self.config.regions is not None or self.pool.has_regions:
                self._join_regions()
            if not len(self.pool.candidates):
                raise StateError(
                    "no image is left to ask: all are labelled, asked or skipped. Add images and run 'labelwise init' "
                    "again, or drop open picks with 'labelwise cancel'"
                )
            chosen = self._strategy(strategy, options)
            size = None if budget == "all" else Budget(budget, self._unit)
            if size is not None and size.counts_items:
                size.items(len(self.pool.candidates))
            campaign = self.campaign(None if predictions is None else Path(predictions))
            fitted: Fitted | None = None
            notes: list[str] = []
            if predictions is None:
                chosen, fitted, notes = self._ready(campaign, chosen, fit)
                notes += self._spoilt()
            found = campaign.choose(chosen, None) if size is None else campaign.suggest(chosen, size, fitted=fitted)
            left_out = [] if size is None else _reported(found)
            return replace(found, classes=self.config.classes, notes=(*notes, *found.notes, *left_out))

    @property
    def _unit(self) -> str:
        """What budgets count now: images until one has a label, then as ``regions`` says."""
        regions = self.config.regions
        return "images" if regions is None or not len(self.pool.labelled) else regions.unit

    def noun_of(self, picks: Sequence[Pick]) -> Literal["image", "region"]:
        """What these picks are."""
        return "region" if picks and all(self.source.within(pick.id)[1] for pick in picks) else "image"

    def _strategy(self, strategy: str | Strategy | None, options: Mapping[str, Any] | None) -> Strategy:
        if isinstance(strategy, Strategy):
            return strategy
        if strategy is None and not options:
            return make_strategy(self.config.strategy)
        name = strategy or self.config.strategy.name
        return make_strategy(StrategyConfig(name=name, options=dict(options or {})))

    def _spoilt(self) -> list[str]:
        """Says it where the weights in use were trained with the labels of these very images."""
        config = self.config
        seen = what_weights_saw(
            config.features, config.learner, data=config.images, classes=config.classes, base=self.folder
        )
        return [] if seen.warning is None else [seen.warning]

    def _open_round(self) -> Round:
        pool = self.pool
        waiting = {pool.ids[p] for p in pool.pending}
        queries = [query for query in pool.queries() if query.id in waiting]
        path = self.source.path
        picks = tuple(Pick(q.id, path(q.id), q.rank, q.score, q.predicted, q.probability) for q in queries)
        last = queries[-1]
        note = (
            f"round {last.round} is open: {len(picks)} of its picks are unanswered, here they are again. Import labels "
            "for them, ask for more with --more, or drop them with 'labelwise cancel'"
        )
        return Round(last.round, picks, last.strategy, classes=self.config.classes, notes=(note,), open=True)

    def _ready(self, campaign: Campaign, chosen: Strategy, fit: bool) -> tuple[Strategy, Fitted | None, list[str]]:
        """Trains or loads what the strategy needs; without labels a strategy that needs them gives way."""
        labels = len(campaign.pool.labelled)
        if not labels:
            if chosen.cold:
                return chosen, None, []
            cold = make_strategy(StrategyConfig(name=COLD_START))
            return (
                cold,
                None,
                [f"there is no label yet, and {chosen.name!r} needs a trained model: {cold.name!r} chose instead"],
            )
        campaign.offer.check([chosen])
        if not fit:
            self._last_fit(campaign, chosen)
            return chosen, None, []
        return chosen, self._fit(campaign, chosen), []

    def _fit(self, campaign: Campaign, strategy: Strategy) -> Fitted:
        fitted = campaign.fit(strategy)
        keep = {record.fit_key for record in self.records()} | {fitted.key}
        campaign.fits.prune(keep)
        return fitted

    def _last_fit(self, campaign: Campaign, strategy: Strategy) -> None:
        if not campaign.load_newest(strategy) and not strategy.cold:
            raise StateError("nothing has been trained yet: run 'labelwise fit' first")

    def export(
        self,
        path: str | Path,
        kind: Kind | None = None,
        *,
        suggested: Round | None = None,
        predictions: str | Path | None = None,
    ) -> Path:
        """Writes the unanswered picks: a CSV of scores, a JSON to fill in, or an HTML gallery, by the file's ending.

        For boxes the JSON is a COCO file, and ``voc`` and ``yolo`` write a folder; each holds the boxes that the model
        trained last, or ``predictions``, would draw. For masks the JSON is a COCO file, and ``masks`` writes a folder
        of PNG files; each holds the masks that the model trained last would draw.

        Raises:
            ConfigError: an unknown ending, or a format of another task.
            StateError: no round is open.
        """
        out = Path(path)
        kind = kind or kind_of(out)
        self._check_format(kind)
        if suggested is None:
            if not len(self.pool.pending):
                raise StateError("no round is open, there is nothing to export: run 'labelwise suggest' first")
            suggested = self._open_round()
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            if self.boxes and kind in (*BOXES, "json"):
                self._export_boxes(out, "coco" if kind == "json" else kind, suggested, predictions)
            elif self.masks and kind in (*MASKS, "json"):
                write = write_asked_masks if kind == "masks" else write_asked_coco
                write(out, self._asked(suggested, predictions))
            elif kind == "csv":
                write_scores(out, suggested.picks)
            elif kind == "json":
                write_picks(out, suggested)
            else:
                self._gallery(out, suggested, predictions)
        except OSError as error:
            raise StateError(f"cannot write {out}: {error.strerror or error}. Choose another path") from error
        return out

    def export_labels(self, path: str | Path, kind: Kind | None = None) -> list[str]:
        """Writes every label of the pool so far, in files that ``import`` reads as well.

        Classes as CSV or JSON; boxes as COCO JSON, ``voc`` or ``yolo``; masks as COCO JSON or ``masks``, a folder of
        PNG files, where what was said of the regions of an image becomes one mask. Labels of test and validation images
        are not among them.

        Returns:
            What the format has no place for, one line each.

        Raises:
            ConfigError: an unknown ending, or a format of another task.
            StateError: nothing has a label, or the file cannot be written.
        """
        out = Path(path)
        kind = kind or kind_of(out)
        self._check_format(kind)
        if kind == "html" or (kind == "csv" and self.formats):
            raise ConfigError(f"labels are not written as {kind}: use {' or '.join(self.formats) or 'csv or json'}")
        labels = {self.pool.ids[p]: self.pool.target(p) for p in self.pool.labelled}
        if not labels:
            raise StateError("no image of the pool has a label yet: run 'labelwise suggest', and import the answers")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            if self.boxes:
                return write_boxes(out, "coco" if kind == "json" else kind, labels, self.config.classes)
            if self.masks:
                coding = self._coding(self.config.classes)
                write_labelled_masks(out, "coco" if kind == "json" else kind, labels, self.source, coding)
            else:
                write_classes(out, kind, labels)
        except OSError as error:
            raise StateError(f"cannot write {out}: {error.strerror or error}. Choose another path") from error
        return []

    def _export_boxes(self, out: Path, kind: str, suggested: Round, predictions: str | Path | None) -> None:
        guesses = self._guesses([pick.id for pick in suggested.picks], predictions)
        write_asked(out, kind, asked_boxes(suggested.picks, self.source, guesses), self.config.classes)

    def _asked(self, suggested: Round, predictions: str | Path | None) -> Asked:
        """The picks with the masks that the model would draw."""
        images = list(dict.fromkeys(self.source.within(pick.id)[0] for pick in suggested.picks))
        learner = self._predictor(predictions)
        masks = {} if learner is None else dict(predicted_masks(learner, self.source, images))
        return Asked(suggested.picks, self.source, self._coding(self.config.classes), masks)

    def _coding(self, classes: tuple[str, ...]) -> MaskCoding:
        """How masks are written, and what colours mean: as in the data, where these say so."""
        palette = open_images(self.config, self.folder).palette
        return MaskCoding(
            classes, palette=palette if palette and len(palette) == len(classes) else colours(len(classes))
        )

    def _known_masks(self, path: Path, classes: tuple[str, ...]) -> KnownMasks:
        """What files of masks are held against."""
        regions = frozenset(item.id for item in self.pool.items if item.region is not None)
        known = self._known_images(classes, numbered=path.suffix.lower() == ".json")
        return KnownMasks(
            replace(known, ids=frozenset(known.ids) - regions),
            self._coding(classes) if classes else None,
            regions,
            self.source.outline,
            self._waiting_regions(),
        )

    def _waiting_regions(self) -> dict[str, list[str]]:
        """Image -> its regions that wait for an answer."""
        waiting: dict[str, list[str]] = {}
        for item in (self.pool.items[p] for p in self.pool.pending):
            if item.region is not None:
                waiting.setdefault(item.path, []).append(item.id)
        return waiting

    def _predictor(self, predictions: str | Path | None) -> Learner | None:
        """The model trained last, or what a file says; None where nothing was trained."""
        if predictions is None and Fits(self.state / "fits").newest() is None:
            return None
        campaign = self.campaign(None if predictions is None else Path(predictions))
        if predictions is None:
            self._last_fit(campaign, make_strategy(self.config.strategy))
        return campaign.setting.learner

    def _guesses(self, ids: Sequence[str], predictions: str | Path | None = None) -> Mapping[str, list[Any]]:
        """Objects that the model trained last, or a file, finds in these images; {} where nothing was trained."""
        learner = self._predictor(predictions)
        return {} if learner is None else predicted_boxes(learner, self.source, ids)

    def _pictures(self, ids: Sequence[str], predictions: str | Path | None = None) -> Callable[[str], Any]:
        """Gives the picture of an item, with what was predicted and what people drew where there is any."""
        if self.boxes:
            return self._boxed(ids, predictions)
        if not self.masks:
            return self.image_of
        from labelwise.exchange.mask_pictures import mask_pictures

        return mask_pictures(
            self.image_of,
            self.source,
            self._predictor(predictions),
            ids,
            labelled={self.pool.ids[p]: self.pool.target(p) for p in self.pool.labelled},
            classes=self.config.classes,
            palette=open_images(self.config, self.folder).palette,
        )

    def _boxed(self, ids: Sequence[str], predictions: str | Path | None = None) -> Callable[[str], Any]:
        """Pictures with the boxes that were predicted and those that people drew, where there are any."""
        from labelwise.drawing.boxes import boxed

        guesses = self._guesses(ids, predictions)
        known = {self.pool.ids[p]: self.pool.target(p) for p in self.pool.labelled}

        def image_of(item: str) -> Any:
            image = self.image_of(item)
            panels: dict[str, Any] = {}
            if image is not None and item in guesses:
                panels["predicted"] = {"size": self.source.size(item), "objects": guesses[item]}
            if image is not None and item in known:
                panels["labelled"] = known[item]
            return boxed(image, self.config.classes, panels) if panels else image

        return image_of

    def _gallery(self, out: Path, suggested: Round, predictions: str | Path | None = None) -> None:
        # imported here: drawing and statistics would cost every other command a second
        from labelwise.drawing.boxes import SIDE
        from labelwise.report.gallery import write_gallery

        number = "ranking" if suggested.number is None else f"round {suggested.number}"
        write_gallery(
            out,
            suggested.picks,
            image_of=self._pictures([pick.id for pick in suggested.picks], predictions),
            side=2 * SIDE if self.formats else None,
            title=f"{self.folder.resolve().name}: {number}",
            subtitle=f"{len(suggested)} {self.noun_of(suggested.picks)}s chosen by {suggested.strategy}",
            classes=self.config.classes,
        )

    def image_of(self, item: str, side: int = 320) -> Any:
        """A small PIL image of an item; None for one that cannot be read."""
        from PIL import Image

        try:
            array = self.source.thumbnail(item, side)
        except DataError:
            return None
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)

    def import_labels(
        self,
        path: str | Path,
        *,
        kind: LabelKind | None = None,
        classes: Sequence[str] = (),
        confirm: Callable[[tuple[str, ...]], bool] = lambda classes: True,
    ) -> Imported:
        """Takes labels back from a CSV or JSON file, boxes from COCO, VOC or YOLO, masks from PNG files or COCO.

        All of it or nothing. A mask in which some pixels have no class is a partial one; where regions of its image
        were asked, it answers them.

        Args:
            path: the file or folder; rows may be unanswered or skipped, and may correct earlier labels.
            kind: the format of boxes or masks, where the path does not say.
            classes: of the project, when it has none yet; else those that the file names are taken.
            confirm: asked once, with the classes found, when the project has none yet and none are given.

        Raises:
            ConfigError: the classes were not confirmed, or other ones are given than the project has.
            FormatError: an unknown id or class, or two labels for one id, with the row; nothing is imported.
        """
        with self._changing():
            known = self._classes(classes)
            table = self._read_answers(Path(path), kind, known)
            occurring = {str(name) for answer in table.answers for name in named(answer.target)}
            found = known or table.classes or tuple(sorted(occurring))
            root = getattr(self.source, "root", None) or getattr(getattr(self.source, "source", None), "root", None)
            answers = check_answers(table, self.pool.ids, found, root=root)
            if not known and found:
                if len(found) < 2 and not self.boxes:
                    raise ConfigError(
                        f"the only class in {table.path!r} is {found[0]!r}, and a project needs all its classes: name "
                        "them with --classes a,b,c. Nothing was imported"
                    )
                if not confirm(found):
                    raise ConfigError(
                        "the classes were not confirmed, nothing was imported: correct the file and import it again, "
                        "or name all classes with --classes a,b,c"
                    )
            new_classes = () if self.config.classes else found
            before = {self.pool.ids[p]: self.pool.target(p) for p in self.pool.labelled}
            events = list(self._answered(answers, found, before))
            if new_classes:
                self._write_classes(found)
            campaign = _labels_only(self)
            campaign.write(events)
            labelled = [a for a in answers if a.target is not None]
            return Imported(
                labelled=sum(a.id not in before for a in labelled),
                corrected=sum(a.id in before and before[a.id] != a.target for a in labelled),
                skipped=len(answers) - len(labelled),
                unanswered=table.unanswered,
                empty=sum(self.boxes and not named(a.target) for a in labelled),
                pending=len(campaign.pool.pending),
                classes=new_classes,
            )

    def _read_answers(self, path: Path, kind: LabelKind | None, classes: tuple[str, ...]) -> LabelTable:
        if kind is not None:
            self._check_format(kind)
        if self.boxes and kind != "masks":
            return read_box_answers(path, self._known_images(classes), kind=kind)
        if self.masks:
            return read_mask_answers(path, self._known_masks(path, classes), kind=kind, progress=self.progress)
        return read_labels(path, classes=classes)

    def _classes(self, given: Sequence[str]) -> tuple[str, ...]:
        """The project's classes; the given ones while it has none."""
        if self.config.classes and given and set(given) != set(self.config.classes):
            raise ConfigError(
                f"the project's classes are {', '.join(self.config.classes)} already: leave --classes out, or change "
                f"them in {CONFIG_NAME}"
            )
        return self.config.classes or tuple(given)

    def _answered(
        self, answers: Sequence[Answer], classes: tuple[str, ...], before: Mapping[str, Any]
    ) -> Iterator[Event]:
        """The answers as events; a skip withdraws an earlier label, that of an image the question for its regions."""
        waiting = self._waiting_regions()
        task = make_task(self.config.task, classes, self.config.input) if classes else None
        for answer in answers:
            if answer.target is None:
                if answer.id in before:
                    yield Cleared(answer.id)
                yield Skipped(answer.id, answer.reason)
            elif task is not None:
                yield labelled(task, self.pool, answer)
                yield from (Cleared(region) for region in waiting.get(answer.id, ()))

    def cancel(self) -> int:
        """Drops all unanswered picks; returns how many."""
        with self._changing():
            ids = [self.pool.ids[p] for p in self.pool.pending]
            self.store.append([Cleared(item) for item in ids])
            return len(ids)

    def fit(self) -> Fitted:
        """Trains on all labels, unless exactly this was trained before."""
        with self._changing():
            campaign = self.campaign()
            fitted = self._fit(campaign, make_strategy(self.config.strategy))
            # for the report; the next suggest puts its own record of this round in its place
            campaign.write([], record=campaign.describe(fitted))
            return fitted

    def evaluate(self) -> dict[str, float]:
        """Metrics of the weights trained last, on the test items that have a label; {} when there are none.

        Raises:
            StateError: nothing has been trained yet.
        """
        campaign = self.campaign()
        self._last_fit(campaign, make_strategy(self.config.strategy))
        if campaign.setting.learner.weights is None:
            raise StateError("nothing has been trained yet: run 'labelwise fit' first")
        return campaign.evaluate("test")

    def pretrain(
        self, objective: str | None = None, *, name: str | None = None, size: int | None = None, **settings: Any
    ) -> Pretrained:
        """Trains a network on the pool's images without their labels: a backbone called ``pretrained:NAME``.

        Exactly the same is not trained again, and a killed training goes on.

        Args:
            objective: ``rotation``, ``simclr`` or ``vicreg``; else as the project's ``pretrain`` says, as for the rest.
            name: of the result; None: objective and model.
            size: side of the network's input; None: that of the project's ``input``.
            settings: further keys of ``pretrain``, such as ``model`` and ``epochs``.

        Raises:
            ConfigError: unknown names or options, or no images.
            StateError: the result cannot be written.
        """
        from labelwise.learners.pretraining import Pretraining, pretrain

        given = {key: value for key, value in {"objective": objective, **settings}.items() if value is not None}
        config = parse(PretrainConfig, self.config.pretrain.model_dump() | given, where="pretrain")
        how = Pretraining(**config.model_dump())
        spec = self.config.input if size is None else self.config.input.model_copy(update={"size": size})
        task = make_task(self.config.task, self.config.classes or ("unknown", "unknown too"), spec)
        if name is None:
            name = f"{how.objective}-{how.learner(task).model}".replace(":", "-").replace("/", "-")
        if not re.fullmatch(r"[\w.+-]+", name):
            raise ConfigError(f"{name!r} cannot name a file: use letters, digits, '_', '-' and '.'")
        file = self.folder / "pretrained" / f"{name}.safetensors"
        pool = Examples(self.source, tuple(self.pool.ids[p] for p in self.pool.with_role("pool", labelled=False)))
        done = pretrain(task, pool, file, how, seed=self.config.seed, progress=self.progress)
        return replace(done, knn=self._neighbours(how, task, done.file))

    def _neighbours(self, how: Pretraining, task: Task[Any], file: Path) -> dict[str, float]:
        """k-NN accuracy of what was trained, of the same network untrained, and of ``pixels``; {} without labels."""
        from labelwise.learners.backbones import Network, backbone
        from labelwise.learners.pretraining import knn_accuracy

        asking = np.concatenate([self.pool.with_role("test"), self.pool.with_role("validation")])
        known, asked = (
            Examples(
                self.source,
                tuple(self.pool.ids[p] for p in where),
                tuple(task.load(self.pool.target(p)) for p in where),
            )
            for where in (self.pool.labelled, asking)
        )
        if not len(known) or not len(asked):
            return {}
        pixels = backbone("pixels", folder=self.state / "backbone")
        pixels.prepare(
            Examples(self.source, tuple(self.pool.ids[p] for p in self.pool.with_role("pool", labelled=False)))
        )
        fresh = Network.around(how.learner(task).fresh(self.config.seed), task.input)
        backbones = {"pretrained": Network(str(file)), "untrained": fresh, "pixels": pixels}
        return {name: knn_accuracy(one, known, asked) for name, one in backbones.items()}

    def restore(self, ids: Sequence[str]) -> None:
        """Puts skipped items back, so that they may be asked again.

        Raises:
            PoolError: one of them is not skipped.
        """
        with self._changing():
            skipped = {self.pool.ids[p] for p in self.pool.skipped}
            for item in ids:
                if item not in skipped:
                    raise PoolError(f"{item!r} is not skipped: only skipped items can be put back")
            self.store.append([Cleared(item) for item in ids])

    def add_new_images(self) -> int:
        """Registers images that joined the data since; returns how many."""
        with self._changing():
            source = open_images(self.config, self.folder)
            _check_names(source, self.config)
            self.config = keep_range(self.config, source, self.folder / CONFIG_NAME)
            events = list(registration(source, known=self.pool))
            self.store.append(events)
            self.__dict__.pop("source", None)
            return sum(isinstance(event, Added) for event in events)

    # ---- what it looks like -----------------------------------------------------------------------------------------

    def records(self) -> list[RoundRecord]:
        """The record of each round."""
        return [RoundRecord.from_json(record) for record in self.store.rounds()]

    def progress_counts(self) -> dict[str, int]:
        """Items of the pool by state."""
        pool = self.pool
        states = {
            "labelled": pool.labelled,
            "pending": pool.pending,
            "skipped": pool.skipped,
            "unlabelled": pool.candidates,
        }
        return {name: len(positions) for name, positions in states.items()}

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page about this project.

        Raises:
            UnmetNeed: the map that the configuration wants needs a package that is not there.
        """
        from labelwise.campaign.mistakes import check_map
        from labelwise.drawing.boxes import SIDE
        from labelwise.report.project import ProjectState, shown_of_a_round, write_project_report

        check_map(self.config.map)
        out = Path(path) if path is not None else self.state / "report.html"
        picks: dict[int, list[Pick]] = {}
        for query in self.pool.queries():
            pick = Pick(
                query.id, self.source.path(query.id), query.rank, query.score, query.predicted, query.probability
            )
            picks.setdefault(query.round, []).append(pick)
        labels = [self.pool.target(p) for p in self.pool.labelled]
        named = self.config.classes
        task = make_task(self.config.task, named, self.config.input) if named else None
        tests = len(self.pool.with_role("test"))
        untested = "" if tests else "No image is held out for testing, so nothing says how good the model is."
        one_class = tests > 0 and task is not None and "per_image" in task.provides
        found, blind = self._mistakes() if one_class else (None, "")
        state = ProjectState(
            name=self.folder.resolve().name,
            task=self.config.task,
            strategy=self.config.strategy.label,
            progress=self.progress_counts(),
            rounds=self.records(),
            picks=picks,
            class_counts=class_counts(task, map(task.load, labels)) if task is not None else {},
            primary=task.metrics().primary if task is not None else "accuracy",
            cost=self.pool.cost(),
            measured_on=f"{tests} labelled test images" if tests else "",
            settings=self.config.model_dump(mode="json"),
            environment=environment(),
            warnings=[line for line in (untested, blind) if line],
            next_steps=self.next_steps(),
            mistakes=found,
        )
        if not self.formats:
            return write_project_report(state, out, image_of=self.image_of)
        most = shown_of_a_round(max(1, len(picks)))
        ids = {pick.id for asked in picks.values() for pick in sorted(asked, key=lambda p: p.rank)[:most]}
        return write_project_report(state, out, image_of=self._pictures(sorted(ids)), side=2 * SIDE + 8)

    def _mistakes(self) -> tuple[Mistakes | None, str]:
        """What the model trained last gets wrong on the test images, or why that cannot be said."""
        from labelwise.campaign.mistakes import mistakes

        if Fits(self.state / "fits").newest() is None:
            return None, ""
        try:
            campaign = self.campaign()
            self._last_fit(campaign, make_strategy(self.config.strategy))
            return mistakes(campaign, mapped=self.config.map), ""
        except LabelwiseError as error:  # a page about the rest is better than none
            return None, f"What is taken for what cannot be said: {error}"

    def next_steps(self) -> list[str]:
        """Commands that make sense now."""
        if len(self.pool.pending) and self.masks:
            return ["labelwise export asked --format masks", "labelwise import asked"]
        if len(self.pool.pending):
            return ["labelwise export picks.json", "labelwise import answers.csv"]
        return ["labelwise suggest -n 100"] if len(self.pool.candidates) >= 100 else ["labelwise suggest"]

    def name_classes(self, classes: Sequence[str]) -> None:
        """Gives a project that has none yet its classes.

        Raises:
            ConfigError: it has others already, or these are none.
        """
        named = self._classes(classes)
        if named and not self.config.classes:
            make_task(self.config.task, named, self.config.input)
            with self._changing():
                self._write_classes(named)

    def _write_classes(self, classes: tuple[str, ...]) -> None:
        """Writes the classes behind what people wrote into the file, comments and all."""
        path = self.folder / CONFIG_NAME
        config = self.config.model_copy(update={"classes": classes})
        if "classes" in read_yaml(path):
            write_yaml(config, path)
        else:
            text = path.read_text(encoding="utf-8").rstrip("\n")
            added = yaml.safe_dump({"classes": list(classes)}, allow_unicode=True)
            draft = path.with_name(path.name + ".tmp")
            draft.write_text(f"{text}\n{added}", encoding="utf-8")
            draft.replace(path)
        self.config = config


class _WhenRead:
    """A feature source whose backbone is loaded when somebody reads features: most strategies never do."""

    def __init__(self, build: Callable[[], Producer]) -> None:
        self._build = build

    @cached_property
    def _source(self) -> Producer:
        return self._build()

    def collect(self, view: Examples, signals: frozenset[Signal], **how: Any) -> SignalTable:
        """As the source."""
        return self._source.collect(view, signals, **how)

    def signal_key(self, signal: Signal, **how: Any) -> str:
        """As the source."""
        return self._source.signal_key(signal, **how)


def _labels_only(project: Project) -> Campaign:
    """A campaign that only takes answers: no backbone is built for it."""
    classes = project.config.classes or ("unknown", "unknown too")
    task = make_task(project.config.task, classes, project.config.input)
    setting = Setting(project.source, task, None, SignalCache(None), seed=project.config.seed)  # type: ignore[arg-type]
    return Campaign(project.store, setting)


def _reported(found: Round) -> list[str]:
    shown = [f"left out {item!r}: {why.removeprefix(f'{item!r}: ')}" for item, why in [*found.unreadable.items()][:10]]
    more = len(found.unreadable) - len(shown)
    return [*shown, f"and {more} more unreadable images"] if more else shown


def kind_of(path: Path) -> Kind:
    """The format that a file's ending names.

    Raises:
        ConfigError: an unknown ending.
    """
    kinds: dict[str, Kind] = {".csv": "csv", ".json": "json", ".html": "html", ".htm": "html"}
    if path.suffix.lower() not in kinds:
        raise ConfigError(
            f"cannot tell the format of {path.name!r} by its ending: use .csv, .json or .html, or say --format voc "
            "or yolo for a folder of boxes, --format masks for one of masks"
        )
    return kinds[path.suffix.lower()]


def open_images(config: ProjectConfig, folder: Path, *, ids: Sequence[str] | None = None) -> Source:
    """The images of a project; ``ids`` saves scanning a folder again."""
    opened = open_in(folder, config.images, root=config.root, ids=ids, labels=config.labels, task=config.task)
    return opened.in_range(config.input.range)


def registration(source: Source, *, known: Pool | None = None) -> Iterator[Event]:
    """Events that add the images of a source, with the labels that lie on disk."""
    new = [item for item in source.ids if known is None or item not in known]
    for item in new:
        yield added(source, item)
    for item in new:
        if item in source.truth:
            yield Labelled(item, source.truth[item])


def init(
    images: str | Path,
    *,
    project: str | Path = ".",
    classes: Sequence[str] = (),
    progress: Progress = silent,
    **config: Any,
) -> Project:
    """Makes a project from a folder of images, or of a project that is there already, adds its new images.

    Args:
        images: a folder (flat, nested, or one folder per class), an .npz, a CSV, or ``torchvision:NAME``.
        project: where ``labelwise.yaml`` and ``.labelwise`` go.
        classes: names of the classes; else they come from folder names or from the first import.
        progress: told on long work.
        config: any further key of ``labelwise.yaml``; without ``task`` labels beside the images say what it is.

    Raises:
        ConfigError: boxes and masks lie beside the images, and no task is named.
        DataError: no such folder, or no image in it; nothing is made.
        StateError: there is another project already, or the folder cannot be written.
    """
    folder = Path(project)
    resolved = _relative(str(images), folder)
    if (folder / CONFIG_NAME).exists() and (folder / STATE_NAME / "state.db").exists():
        existing = Project(folder, progress=progress)
        if existing.config.images != resolved:
            raise StateError(
                f"{folder / CONFIG_NAME} is about {existing.config.images!r} already: choose another --project folder"
            )
        _same_settings(existing.config, {"classes": existing.config.classes and tuple(classes), **config})
        existing.name_classes(classes)
        existing.add_new_images()
        return existing
    values = {"images": resolved, "classes": tuple(classes), **with_task(images, config)}
    settings = parse(ProjectConfig, values, where="init")
    source = open_images(settings, folder)
    boxed = any(isinstance(label, Mapping) for label in source.truth.values())
    if settings.labels == "auto" and classes and not boxed and not set(classes) & set(source.classes or classes):
        # folders of dates or cameras, not of classes
        settings = settings.model_copy(update={"labels": "none"})
        source = open_images(settings, folder)
    settings, source = in_one_range(settings, source)
    if not settings.classes and source.classes:
        settings = settings.model_copy(update={"classes": tuple(source.classes)})
    if settings.classes:
        task = make_task(settings.task, settings.classes, settings.input)
        check_kind(source, task)
        _check_names(source, settings)
        # read once: a mask is decoded each time it is asked for
        source = Relabelled(source, truth=dict(_checked(source.truth, task, progress)))
    make_strategy(settings.strategy)
    store = Store(folder / STATE_NAME, create=True)
    with store.lock():
        registered = store.pool().ids
        if not registered:
            store.append(list(registration(source)))
        elif registered != tuple(source.ids):
            raise StateError(
                f"{folder / STATE_NAME} holds the state of other images, and its {CONFIG_NAME} is missing: put that "
                "back, or choose another --project folder"
            )
        try:
            write_yaml(settings, folder / CONFIG_NAME)
        except OSError as error:
            raise StateError(
                f"cannot write {folder / CONFIG_NAME}: {error.strerror}. Choose a writable --project folder"
            ) from error
    store.close()
    return Project(folder, progress=progress)


def _check_names(source: Source, config: ProjectConfig) -> None:
    """Refuses masks whose pixels are indices into other classes than the project's."""
    label = next(iter(source.truth.values()), None)
    if isinstance(label, Mapping) and "png" in label and source.classes and config.classes:
        check_names(source.classes, config.classes)


def with_task(images: str | Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the task that the labels beside the images speak of, where they name none.

    Raises:
        ConfigError: there are boxes and masks.
    """
    found = None if "task" in config else task_of(str(images), labels=config.get("labels", "auto"))
    return {**config} if found is None else {**config, "task": found}


def _checked(truth: Mapping[str, Any], task: Task[Any], progress: Progress) -> Iterator[tuple[str, Any]]:
    """Labels that the task can read."""
    for done, (item, label) in enumerate(truth.items(), 1):
        with _naming(item):
            task.load(label)
        progress("reading labels", done, len(truth))
        yield item, label


def _same_settings(config: ProjectConfig, given: Mapping[str, Any]) -> None:
    """Refuses settings that differ from those of a project that is there already: its file decides."""
    wanted = parse(ProjectConfig, {"images": config.images, **given}, where="init")
    for key in given:
        value, present = getattr(wanted, key), getattr(config, key)
        if value not in ((), present):
            raise StateError(
                f"the project is there already with {key}: {_short(present)}, and {_short(value)} was asked for: "
                f"change it in {CONFIG_NAME}, or choose another --project folder"
            )


def _short(value: Any) -> str:
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True) or "the defaults"
    elif isinstance(value, tuple):
        value = ", ".join(map(str, value)) or "none"
    return str(value)


@contextlib.contextmanager
def _naming(item: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"label of {item!r}: {error}") from None


def _relative(images: str, folder: Path) -> str:
    """The data as ``labelwise.yaml`` names them: relative to the project where they lie inside it, else absolute."""
    path = Path(images)
    if not path.exists():
        return images
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path.resolve())


def find_project(start: Path | None = None) -> Path:
    """The project folder at or above ``start``, as git finds a repository.

    Raises:
        StateError: there is none up to the root.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise StateError(
        f"no {CONFIG_NAME} in {here} or above: run 'labelwise init IMAGES' first, or name a folder with --project"
    )


def open_project(folder: str | Path | None = None, *, progress: Progress = silent) -> Project:
    """Opens the project at or above a folder (the present one by default)."""
    return Project(find_project(None if folder is None else Path(folder)), progress=progress)


__all__ = ["Imported", "Project", "find_project", "init", "open_project"]
