"""A network trained on a project's images without their labels, and what its features are worth there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.assemble import make_task
from labelwise.config import PretrainConfig, parse
from labelwise.contracts.learner import Examples
from labelwise.contracts.task import Task
from labelwise.errors import ConfigError
from labelwise.learners.backbones import Network, backbone
from labelwise.learners.pretraining import Pretrained, Pretraining, knn_accuracy, pretrain
from labelwise.project.learning import UNKNOWN

if TYPE_CHECKING:
    from labelwise.project.project import Project


def pretrained(project: Project, name: str | None, size: int | None, settings: dict[str, Any]) -> Pretrained:
    """Trains; see :meth:`Project.pretrain`."""
    config = project.config
    given = {key: value for key, value in settings.items() if value is not None}
    wanted = parse(PretrainConfig, config.pretrain.model_dump() | given, where="pretrain")
    how = Pretraining(**wanted.model_dump())
    spec = config.input if size is None else config.input.model_copy(update={"size": size})
    task = make_task(config.task, config.classes or UNKNOWN, spec)
    if name is None:
        name = f"{how.objective}-{how.learner(task).model}".replace(":", "-").replace("/", "-")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ConfigError(f"{name!r} cannot name a file: use letters, digits, '_', '-' and '.'")
    file = project.folder / "pretrained" / f"{name}.safetensors"
    done = pretrain(task, _pool(project), file, how, seed=config.seed, progress=project.progress)
    return replace(done, knn=_neighbours(project, how, task, done.file))


def _pool(project: Project) -> Examples:
    pool = project.pool
    return Examples(project.source, tuple(pool.ids[p] for p in pool.with_role("pool", labelled=False)))


def _neighbours(project: Project, how: Pretraining, task: Task[Any], file: Path) -> dict[str, float]:
    """k-NN accuracy of what was trained, of the same network untrained, and of ``pixels``; {} without labels."""
    pool = project.pool
    asking = np.concatenate([pool.with_role("test"), pool.with_role("validation")])
    known, asked = (
        Examples(
            project.source,
            tuple(pool.ids[p] for p in where),
            tuple(task.load(pool.target(p)) for p in where),
        )
        for where in (pool.labelled, asking)
    )
    if not len(known) or not len(asked):
        return {}
    pixels = backbone("pixels", folder=project.state / "backbone")
    pixels.prepare(_pool(project))
    fresh = Network.around(how.learner(task).fresh(project.config.seed), task.input)
    backbones = {"pretrained": Network(str(file)), "untrained": fresh, "pixels": pixels}
    return {name: knn_accuracy(one, known, asked) for name, one in backbones.items()}
