"""labelwise: which images to label next, and what that saved.

``labelwise.select`` chooses from plain arrays; ``labelwise.init`` and ``labelwise.open`` work with projects.
Everything is imported when it is first used, so that ``import labelwise`` costs nothing. Import it before torch: it
asks OpenMP for threads that sleep while they wait (``OMP_WAIT_POLICY``, unless that is set).
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# waiting threads sleep instead of spinning: where others use the machine too, small nets train six times faster; the
# number of threads stays, since results depend on it in the last digits. Nothing where torch was imported before
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"

_HOME = {
    "Answer": "contracts.oracle",
    "Batch": "contracts.task",
    "Budget": "contracts.query",
    "Campaign": "campaign.loop",
    "Classification": "tasks.classification",
    "Draw": "contracts.signal",
    "FeatureLearner": "learners.features",
    "Folder": "exchange.folder",
    "HeldBack": "contracts.oracle",
    "ImportedPredictions": "learners.imported",
    "InputSpec": "contracts.input",
    "LabelwiseError": "errors",
    "Learner": "contracts.learner",
    "Needs": "contracts.strategy",
    "Oracle": "contracts.oracle",
    "Outputs": "contracts.task",
    "Phase": "contracts.learner",
    "Pick": "contracts.oracle",
    "Picks": "direct.select",
    "Plain": "contracts.signal",
    "Pool": "campaign.pool",
    "Probe": "contracts.signal",
    "Project": "project.project",
    "Query": "contracts.query",
    "Round": "contracts.oracle",
    "Selection": "contracts.query",
    "Source": "contracts.source",
    "Step": "contracts.strategy",
    "Strategy": "contracts.strategy",
    "Task": "contracts.task",
    "TorchLearner": "learners.torch",
    "compare": "studies.comparison",
    "duplicates": "project.looking",
    "from_dataset": "data.dataset",
    "init": "project.setup",
    "list_strategies": "direct.select",
    "open": "project.setup",
    "outliers": "project.looking",
    "predict": "project.predicting",
    "relabel": "project.relabelling",
    "select": "direct.select",
    "similar": "project.looking",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labelwise' has no attribute {name!r}")
    module = importlib.import_module(f"labelwise.{_HOME[name]}")
    return getattr(module, {"open": "open_project", "compare": "compare_strategies"}.get(name, name))


def __dir__() -> list[str]:
    return __all__
