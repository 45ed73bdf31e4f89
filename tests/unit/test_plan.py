"""What strategies need is united for one pass, and checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

import tiny
from labelwise.campaign.plan import Offer, unite
from labelwise.config import RecipeConfig
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import UndeclaredSignal, UnmetNeed
from labelwise.learners.imported import ImportedPredictions
from labelwise.signals import Dropout, Embedding, HeadOutput, Members, Passes, Probs, Uncertainty
from labelwise.signals.descriptors import Descriptors
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.probes import LossSlope
from labelwise.strategies import STRATEGIES
from labelwise.studies import settings
from labelwise.studies.settings import own_parts

SOURCE = tiny.digits(20)


@dataclass(frozen=True)
class Wants(Strategy):
    """Asks for something and takes the first."""

    name = "wants"
    needs: Needs = field(default_factory=Needs)
    heads: tuple = ()
    reads: object = None

    def steps(self):
        return (Step(self.needs, self._first),)

    def auxiliaries(self):
        return self.heads

    def _first(self, query):
        if self.reads is not None:
            query.pool(self.reads)
        return Selection(query.unlabelled_M[: query.budget])


def _wants(*signals, **options) -> Wants:
    return Wants(Needs(pool=frozenset(signals)), **options)


def test_needs_of_first_steps_are_united():
    margin, kmeans = STRATEGIES.create("margin"), STRATEGIES.create("kmeans", pool="all")
    needs = unite([margin, kmeans, STRATEGIES.create("prefilter", then=STRATEGIES.create("k_center"))])
    assert needs.pool == {Uncertainty("margin"), Embedding("frozen")}
    assert needs.labelled == {Embedding("frozen")}
    assert needs.signals == needs.pool | needs.labelled
    assert unite([]) == Needs()
    assert (Needs(truth=True) | Needs()).truth


def test_a_prefilter_trains_the_heads_of_both():
    with_head = _wants(HeadOutput("loss_head"), heads=(tiny.LossHead(),))
    both = STRATEGIES.create("prefilter", first=with_head, then=with_head)
    assert both.auxiliaries() == (tiny.LossHead(),)
    Offer(TORCH).check([both])


@dataclass(frozen=True)
class Ghosts(Passes):
    """Passes that nobody can make."""


TORCH, FEATURES = tiny.torch_learner(), tiny.feature_learner(SOURCE)
IMPORTED = ImportedPredictions(tiny.digits_task(), ["a"], embeddings=tiny.np.zeros((1, 2), "float32"))
CASES = {
    "embedding from a file without probs": (
        IMPORTED,
        _wants(Probs()),
        "needs class probabilities, and the file of predictions gives an embedding",
    ),
    "frozen features that are not there": (TORCH, _wants(Embedding("frozen")), "give the project a feature backbone"),
    "passes that frozen features cannot make": (FEATURES, _wants(DrawUncertainty("bald", Members())), "Members passes"),
    "passes that nobody makes": (TORCH, _wants(DrawUncertainty("bald", Ghosts())), "needs Ghosts passes"),
    "members of a single model": (TORCH, _wants(DrawUncertainty("bald", Members())), "needs Members passes"),
    "a probe without a model": (FEATURES, _wants(Descriptors()), "needs to probe the model"),
    "a head that is not trained": (TORCH, _wants(HeadOutput("loss_head")), "needs head:loss_head"),
    "a head beside frozen features": (FEATURES, _wants(heads=(tiny.LossHead(),)), "trains an extra head"),
    "hidden labels": (TORCH, Wants(Needs(truth=True)), "exist only in simulated campaigns"),
    "what labelled items need": (IMPORTED, Wants(Needs(labelled=frozenset({Probs()}))), "needs class probabilities"),
    "what reference items need": (IMPORTED, Wants(Needs(reference=frozenset({Probs()}))), "needs class probabilities"),
    "what a second step needs": (
        IMPORTED, STRATEGIES.create("prefilter", first=STRATEGIES.create("random")), "needs frozen features"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_met_is_refused_in_one_line(case):
    learner, strategy, message = CASES[case]
    with pytest.raises(UnmetNeed, match=message) as caught:
        Offer(learner).check([STRATEGIES.create("random"), strategy])
    assert "\n" not in str(caught.value)


def test_what_can_be_met_passes():
    Offer(TORCH).check([_wants(HeadOutput("loss_head"), heads=(tiny.LossHead(),)), _wants(LossSlope(), Embedding())])
    Offer(TORCH).check([_wants(DrawUncertainty("bald", Dropout()))])
    Offer(tiny.torch_learner(members=3)).check([_wants(DrawUncertainty("bald", Members()))])
    Offer(FEATURES, frozen=True).check(
        [STRATEGIES.create(name) for name in ("margin", "kmeans", "k_center", "prefilter")]
    )
    Offer(TORCH, held_back=True).check([Wants(Needs(truth=True))])


@dataclass(frozen=True)
class Validates(LossSlope):
    """A probe that looks at validation images."""

    @property
    def prepared_from(self):
        return frozenset({"validation"})

    def prepare(self, context):
        SEEN.append((context.count["validation"], sum(len(batch) for batch in context.validation())))
        return super().prepare(context)


SEEN: list[tuple[int, int]] = []


@pytest.mark.parametrize(
    ("probe", "role", "lacks"),
    [(LossSlope("reference"), "reference", {"reference": False}), (Validates(), "validation", {"validation": False})],
)
def test_a_probe_without_the_set_it_is_prepared_from_is_refused_before_training(probe, role, lacks, tmp_path):
    """It was refused when the model was trained already, and the pool about to be read."""
    with pytest.raises(UnmetNeed, match=f"with the {role} set .* give labelled items the role {role}") as caught:
        Offer(TORCH, **lacks).check([_wants(probe)])
    assert len(str(caught.value)) <= 300
    Offer(TORCH).check([_wants(probe)])
    campaign = tiny.campaign(tmp_path, SOURCE, learner := tiny.torch_learner(), labelled=SOURCE.ids[:5])
    with pytest.raises(UnmetNeed, match=f"the {role} set"):
        next(campaign.rounds(_wants(probe), HeldBack(SOURCE.truth), Budget(2), count=1))
    assert learner.weights is None


@pytest.mark.parametrize(("options", "words"), [({"along": "test"}, "a leak"), ({"label": "true"}, "is an oracle")])
def test_what_a_study_alone_may_look_at_is_refused_elsewhere(options, words, tmp_path):
    strategy = STRATEGIES.create("influence", **options)
    with pytest.raises(UnmetNeed, match=words) as caught:
        Offer(TORCH).check([strategy])
    assert len(str(caught.value)) <= 300
    Offer(TORCH, held_back=True).check([strategy])


def test_a_probe_reads_the_test_images_where_it_names_them(tmp_path):
    source = tiny.digits(40, test=12)
    pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool"]
    campaign = tiny.campaign(tmp_path, source, tiny.torch_learner(), labelled=pool[:8], truth=source.truth)
    strategy = STRATEGIES.create("influence", along="test")
    first = next(iter(campaign.rounds(strategy, HeldBack(source.truth), Budget(2), count=1)))
    assert "a leak: images are chosen by the labels of the test images" in first.notes


def test_a_probe_reads_the_validation_images():
    data = replace(tiny.learner_data(SOURCE, SOURCE.ids[:5]), validation=tiny.view(SOURCE, SOURCE.ids[15:]))
    learner = tiny.torch_learner()
    learner.fit(data, 0)
    SEEN.clear()
    view, probe = tiny.view(SOURCE, SOURCE.ids[5:9], labels=False), Validates()
    assert learner.collect(view, frozenset({probe}), data=data)[probe].shape == (4,)
    assert SEEN == [(5, 5)]
    other = replace(data, validation=tiny.view(SOURCE, SOURCE.ids[16:]))
    assert learner.signal_key(probe, data=data) != learner.signal_key(probe, data=other)


@pytest.mark.parametrize("where", ["strategy", "companions"])
def test_nothing_is_trained_before_the_check(where, tmp_path):
    learner = tiny.torch_learner()
    campaign = tiny.campaign(tmp_path, SOURCE, learner, labelled=SOURCE.ids[:5])
    bad = STRATEGIES.create("kmeans")
    chosen, others = (bad, ()) if where == "strategy" else (STRATEGIES.create("margin"), (bad,))
    with pytest.raises(UnmetNeed):
        next(campaign.rounds(chosen, HeldBack(SOURCE.truth), Budget(2), count=1, companions=others))
    assert learner.weights is None
    assert campaign.pool.round == 0


def test_what_is_read_must_be_declared(tmp_path):
    campaign = tiny.campaign(tmp_path, SOURCE, FEATURES, labelled=SOURCE.ids[:5])
    campaign.fit()
    with pytest.raises(UndeclaredSignal, match="read but not declared"):
        campaign.choose(_wants(Probs(), reads=Embedding()), Budget(2))
    with pytest.raises(UndeclaredSignal):
        campaign.choose(Wants(reads=Embedding()), Budget(2))
    assert len(campaign.choose(_wants(Probs(), reads=Probs()), Budget(2)).picks) == 2


def test_hidden_labels_reach_an_oracle_and_nobody_else(tmp_path):
    seen = []

    @dataclass(frozen=True)
    class Looks(Wants):
        def _first(self, query):
            seen.append(query.truth_N)
            return super()._first(query)

    campaign = tiny.campaign(tmp_path, SOURCE, FEATURES, truth=SOURCE.truth)
    campaign.choose(Looks(), Budget(2))
    campaign.choose(Looks(Needs(truth=True)), Budget(2))
    assert seen[0] is None
    assert seen[1].tolist() == [int(SOURCE.truth[item]) for item in SOURCE.ids]


def test_a_study_names_the_strategies_that_change_what_is_trained(monkeypatch):
    values = {"name": "x", "data": {"source": "digits"}, "initial": 10, "batch": 10, "rounds": 1}
    recipe = RecipeConfig.model_validate({**values, "strategies": ["random", "margin"]})
    assert own_parts(recipe) == []
    with_head = _wants(HeadOutput("loss_head"), heads=(tiny.LossHead(),))
    monkeypatch.setattr(settings, "make_strategy", lambda config: with_head)
    assert own_parts(recipe) == ["random trains loss_head", "margin trains loss_head"]
