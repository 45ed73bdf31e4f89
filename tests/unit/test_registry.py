"""Registration by being there: names, aliases, near misses, references to other packages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from labelwise.contracts.strategy import Strategy
from labelwise.errors import ConfigError
from labelwise.registry import Registry, import_object
from labelwise.strategies import STRATEGIES
from labelwise.strategies.margin import Margin


@dataclass(frozen=True)
class Outside(Strategy):
    """A strategy in somebody else's module."""

    name = "outside"
    size: int = 3

    def steps(self):
        return ()


def test_names_are_sorted_and_hold_no_alias():
    names = STRATEGIES.names()
    assert names == sorted(set(names))
    assert "k_center" in names
    assert "coreset" not in names
    assert "scored" not in names, "a base without a name is none"
    assert STRATEGIES.get("coreset") is STRATEGIES.get("k_center")


def test_a_class_of_another_package():
    assert STRATEGIES.get("test_registry:Outside") is Outside
    assert STRATEGIES.create("test_registry:Outside", size=5) == Outside(5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("margn", "did you mean 'margin'"),
        ("MARGIN", "unknown strategy"),
        ("", "unknown strategy"),
        ("coresett", "did you mean 'coreset'"),
        ("test_registry:Missing", "cannot import"),
        ("test_registry:pytest", "not a Strategy"),
        ("no.such.module:X", "cannot import"),
        (":X", "cannot import"),
        ("x:", "cannot import"),
        ("..up:X", "cannot import"),
        ("json:JSONDecoder", "not a Strategy"),
    ],
)
def test_unknown_names_are_one_line(name, message):
    with pytest.raises(ConfigError, match=message) as caught:
        STRATEGIES.get(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subpol": 3}, "did you mean 'subpool'"),
        ({"subpool": 0}, "at least 1"),
        ({"subpool": "3"}, "subpool"),
        ({"subpool": True}, "subpool"),
        ({"subpool": 2.5}, "subpool"),
        ({"noise": "powr"}, "did you mean 'power'"),
        ({"coldness": None}, "coldness"),
        ({"measure": "entropy"}, "unknown option"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        STRATEGIES.create("margin", **options)
    assert "\n" not in str(caught.value)


def test_options_that_can_be():
    assert STRATEGIES.create("margin", subpool=None, noise="power", coldness=2) == Margin(noise="power", coldness=2)


def test_import_object():
    assert import_object("json:dumps").__name__ == "dumps"
    with pytest.raises(ConfigError, match=r"package\.module:name"):
        import_object("json")


def test_two_classes_of_one_name_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "twins_of_registry"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("one", "two"):
        (package / f"{name}.py").write_text("class Twin(dict):\n    name = 'twin'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="two thing classes are called 'twin'"):
        Registry("thing", "twins_of_registry", dict).names()


def test_what_a_module_only_imports_is_not_registered_twice(tmp_path, monkeypatch):
    package = tmp_path / "one_of_registry"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("class Thing(dict):\n    name = 'thing'\n")
    (package / "other.py").write_text("from one_of_registry.base import Thing\nclass Nameless(Thing):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Registry("thing", "one_of_registry", dict).names() == ["thing"]
