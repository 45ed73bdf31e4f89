"""The items of a pool as learners are given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labelwise.contracts.learner import Examples, LearnerData

if TYPE_CHECKING:
    import numpy as np

    from labelwise.campaign.pool import Pool, Positions
    from labelwise.campaign.setting import Setting


class PoolExamples:
    """Items by position, with their targets; what is trained on is loaded once, however often it is read.

    Args:
        setting: whose source and task.
        pool: as it stands; a campaign puts the next one here after each event.
    """

    def __init__(self, setting: Setting, pool: Pool) -> None:
        self.setting = setting
        self.pool = pool
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def target(self, position: int | np.int64) -> Any:
        """The loaded label of an item.

        Raises:
            PoolError: it has none.
        """
        raw, item = self.pool.target(position), self.pool.ids[position]
        if self.pool.role(position) in ("test", "validation"):
            return self.setting.task.load(raw)  # read once a round: the masks of a test set are not held in memory
        known = self._loaded.get(item)
        if known is None or known[0] is not raw:
            known = self._loaded[item] = (raw, self.setting.task.load(raw))
        return known[1]

    def of(self, positions: Positions, *, targets: bool = False) -> Examples:
        """These items, with their targets on demand."""
        ids = tuple(self.pool.ids[p] for p in positions)
        return Examples(self.setting.source, ids, tuple(map(self.target, positions)) if targets else None)

    def images(self, positions: Positions, *, targets: bool = False) -> Examples:
        """The images that items lie in, as a training reads them: the labels of an image's regions become one."""
        if not self.pool.has_regions:
            return self.of(positions, targets=targets)
        of_image: dict[str, list[Any]] = {}
        for p in positions:
            parts = of_image.setdefault(self.pool.items[p].path, [])
            if targets:
                parts.append(self.target(p))
        merged = tuple(self.setting.task.merge(parts) for parts in of_image.values()) if targets else None
        return Examples(self.setting.source, tuple(of_image), merged)

    def data(self, *, test: bool = False) -> LearnerData:
        """What a learner may look at now; the test set for probes alone that name it, in simulated campaigns."""
        pool, judged_on = self.pool, self.setting.learner.judged_on
        return LearnerData(
            labelled=self.images(pool.labelled, targets=True),
            unlabelled=self.images(pool.unlabelled),
            validation=self.of(pool.with_role("validation"), targets=True),
            reference=self.of(pool.with_role("reference"), targets=True),
            judge=None if judged_on is None else self.of(pool.with_role(judged_on), targets=True),
            test=self.of(pool.with_role("test"), targets=True) if test else None,
        )
