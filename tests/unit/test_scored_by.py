"""What a strategy says its score of one image is, it reads; and those that score images one by one say it."""

from __future__ import annotations

import pytest

from labelwise.strategies import STRATEGIES

ALONE = {
    *("margin", "entropy", "least_confidence", "bald", "mean_std", "variation_ratio", "predictive_entropy"),
    *("predictive_variance", "disagreement", "flip_consistency", "skeleton_likelihood", "learning_loss"),
    *("prefilter", "cost_aware", "localization_stability"),
}


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_the_score_of_one_image_is_read(name):
    try:
        made = STRATEGIES.create(name)
    except (TypeError, ValueError):
        assert name not in ALONE
        return
    assert (made.scored_by is not None) == (name in ALONE)
    if made.scored_by is not None:
        assert made.scored_by in {signal for step in made.steps() for signal in step.needs.pool}
