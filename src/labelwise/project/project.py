"""A project: images, people who label, and what to label next. The command line is a thin skin over this."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from labelwise.assemble import cut_into_regions, make_features, make_learner, make_strategy, make_task
from labelwise.campaign.events import Added, Cleared, Event, Skipped
from labelwise.campaign.fits import Fits, Fitted
from labelwise.campaign.loop import Campaign
from labelwise.campaign.pool import Pool
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.setting import Setting, labelled
from labelwise.campaign.store import Store
from labelwise.config import ProjectConfig, parse, read_yaml, write_yaml
from labelwise.contracts.learner import Learner, Producer, Progress, silent
from labelwise.contracts.oracle import Answer, Pick, Round
from labelwise.contracts.source import Source
from labelwise.contracts.strategy import Strategy
from labelwise.contracts.task import Task
from labelwise.data.remembered import Remembered
from labelwise.errors import ConfigError, DataError, FormatError, PoolError, StateError
from labelwise.exchange.boxes import asked_boxes, write_asked
from labelwise.exchange.labelled_set import write_boxes, write_classes, write_labelled_masks
from labelwise.exchange.masks import Asked, write_asked_coco, write_asked_masks
from labelwise.exchange.pictures import drawn
from labelwise.formats.box_answers import read_box_answers
from labelwise.formats.coco_results import read_found_boxes
from labelwise.formats.detections import KnownImages
from labelwise.formats.labels_table import LabelTable, check_answers, named, read_labels
from labelwise.formats.mask_answers import KnownMasks, read_mask_answers
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.picks_json import write_picks
from labelwise.formats.predictions_npz import Expected, read_predictions
from labelwise.formats.scores_csv import write_scores
from labelwise.formats.voc_masks import colours
from labelwise.kinds.masks import whole
from labelwise.learners.features import WhenRead
from labelwise.learners.imported import FromFile, ImportedPredictions
from labelwise.learners.imported_detections import ImportedDetections
from labelwise.project.asking import open_round
from labelwise.project.images import CONFIG_NAME, STATE_NAME, open_images, registration, same_classes
from labelwise.project.reading import keep_range
from labelwise.project.training import last_fit
from labelwise.signals.cache import SignalCache
from labelwise.tasks import TASKS

if TYPE_CHECKING:
    from labelwise.learners.pretraining import Pretrained

#: what picks are written as
Kind = Literal["csv", "json", "html", "coco", "voc", "yolo", "masks"]
KINDS: tuple[Kind, ...] = ("csv", "json", "html", "coco", "voc", "yolo", "masks")
#: what labels come back as, apart from tables of classes
LabelKind = Literal["coco", "voc", "yolo", "masks"]
BOXES: tuple[LabelKind, ...] = ("coco", "voc", "yolo")
MASKS: tuple[LabelKind, ...] = ("coco", "masks")


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

    def add(self, events: Sequence[Event]) -> None:
        """Appends events that add items."""
        if events:
            self.store.append(events)
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
        frozen: Producer = WhenRead(lambda: self.features)
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
    def changing(self) -> Iterator[None]:
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
        from labelwise.project.asking import strategy_of, suggest

        with self.changing():
            chosen = strategy_of(self, strategy, options)
            file = None if predictions is None else Path(predictions)
            return suggest(self, budget, chosen, predictions=file, fit=fit, more=more)

    def noun_of(self, picks: Sequence[Pick]) -> Literal["image", "region"]:
        """What these picks are."""
        return "region" if picks and all(self.source.within(pick.id)[1] for pick in picks) else "image"

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
            suggested = open_round(self)
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
        found = () if learner is None else learner.task.guesses(learner, self.source, images)
        masks = {image: whole(raw) for image, raw in found}
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
            last_fit(campaign, make_strategy(self.config.strategy))
        return campaign.setting.learner

    def _guesses(self, ids: Sequence[str], predictions: str | Path | None = None) -> Mapping[str, list[Any]]:
        """Objects that the model trained last, or a file, finds in these images; {} where nothing was trained."""
        learner = self._predictor(predictions)
        if learner is None:
            return {}
        return {item: raw["objects"] for item, raw in learner.task.guesses(learner, self.source, ids)}

    def pictures(self, ids: Sequence[str], predictions: str | Path | None = None) -> Callable[[str], Any]:
        """Gives the picture of an item, with what was predicted and what people drew where there is any."""
        classes = self.config.classes or ("unknown", "unknown too")
        return drawn(
            make_task(self.config.task, classes, self.config.input),
            self.source,
            self.image_of,
            ids,
            learner=self._predictor(predictions) if self.formats else None,
            labelled={self.pool.ids[p]: self.pool.target(p) for p in self.pool.labelled},
            palette=open_images(self.config, self.folder).palette,
        )

    def _gallery(self, out: Path, suggested: Round, predictions: str | Path | None = None) -> None:
        # imported here: drawing and statistics would cost every other command a second
        from labelwise.drawing.boxes import SIDE
        from labelwise.report.gallery import write_gallery

        number = "ranking" if suggested.number is None else f"round {suggested.number}"
        write_gallery(
            out,
            suggested.picks,
            image_of=self.pictures([pick.id for pick in suggested.picks], predictions),
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
        with self.changing():
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
        with self.changing():
            ids = [self.pool.ids[p] for p in self.pool.pending]
            self.store.append([Cleared(item) for item in ids])
            return len(ids)

    def fit(self) -> Fitted:
        """Trains on all labels, unless exactly this was trained before."""
        from labelwise.project.training import fit

        with self.changing():
            return fit(self)

    def evaluate(self) -> dict[str, float]:
        """Metrics of the weights trained last, on the test items that have a label; {} when there are none.

        Raises:
            StateError: nothing has been trained yet.
        """
        from labelwise.project.training import evaluate

        return evaluate(self)

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
        from labelwise.project.pretraining import pretrain

        return pretrain(self, name=name, size=size, objective=objective, **settings)

    def restore(self, ids: Sequence[str]) -> None:
        """Puts skipped items back, so that they may be asked again.

        Raises:
            PoolError: one of them is not skipped.
        """
        with self.changing():
            skipped = {self.pool.ids[p] for p in self.pool.skipped}
            for item in ids:
                if item not in skipped:
                    raise PoolError(f"{item!r} is not skipped: only skipped items can be put back")
            self.store.append([Cleared(item) for item in ids])

    def add_new_images(self) -> int:
        """Registers images that joined the data since; returns how many."""
        with self.changing():
            source = open_images(self.config, self.folder)
            same_classes(source, self.config)
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
        from labelwise.project.reporting import report

        return report(self, Path(path) if path is not None else self.state / "report.html")

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
            with self.changing():
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


def _labels_only(project: Project) -> Campaign:
    """A campaign that only takes answers: no backbone is built for it."""
    classes = project.config.classes or ("unknown", "unknown too")
    task = make_task(project.config.task, classes, project.config.input)
    setting = Setting(project.source, task, None, SignalCache(None), seed=project.config.seed)  # type: ignore[arg-type]
    return Campaign(project.store, setting)


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
