"""The shape of the house: import direction, sizes, names."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import forked
import labelwise

ROOT = Path(labelwise.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py"))


def _module(path: Path) -> str:
    parts = ("labelwise", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in FILES}


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """A tree of each file; a million nodes, which no other test should have to carry along."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@pytest.fixture(scope="module")
def imports(trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """What each module imports of labelwise."""
    return {name: (_imported(trees[path]) | _lazy(trees[path], path, name)) - {name} for name, path in MODULES.items()}


def _imported(tree: ast.AST) -> set[str]:
    """Modules of labelwise that are imported when the code runs, inside functions too; not those for type checkers."""
    found: set[str] = set()
    checkers = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in checkers:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module or "" for name in whole}
    return found & set(MODULES)


def _lazy(tree: ast.Module, path: Path, package: str) -> set[str]:
    """Modules that a package loads when a name is asked for: its table of names says which."""
    if path.name != "__init__.py" or package == "labelwise":
        return set()  # the face of the whole house may look at all of it
    tables = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "_HOME" for target in node.targets)
    ]
    homes = {ast.literal_eval(value) for table in tables if isinstance(table, ast.Dict) for value in table.values}
    assert not ("def __getattr__" in path.read_text() and not homes), f"{package} loads lazily without a table _HOME"
    return {f"{package}.{home}" for home in homes}


def _room(name: str) -> str:
    """The folder, or the module that lies beside the folders."""
    return name.split(".")[1] if "." in name else name


# ---- floors: what stands on what ------------------------------------------------------------------------------------

#: from the ground up; a room imports from floors below its own, and nothing from its own floor or above
FLOORS = (
    {"errors", "rng", "processes"},
    {"registry", "selection", "estimating"},
    {"contracts"},
    {"drawing"},
    {"formats"},
    {"config", "kinds"},
    {"exchange"},
    {"data"},
    {"models"},
    {"signals", "schemes"},
    {"strategies", "learners"},
    {"campaign", "direct", "tasks"},
    {"report"},
    {"assemble"},
    {"studies"},
    {"few_labels", "project", "recipes"},
    {"demo", "serve", "testing"},
    {"cli"},
    {"__main__"},
)
#: rooms that may look at less than all below them, and why it matters
ONLY = {
    "contracts": {"errors", "rng"},  # what others implement is built on nothing of ours
    "selection": {"errors"},  # pure functions on tensors
    "estimating": {"errors"},  # pure functions on arrays
    "strategies": {"contracts", "errors", "registry", "selection", "signals"},  # a strategy never sees a model
    "signals": {"contracts", "errors", "models", "processes", "registry", "rng", "selection"},
}


def _between_rooms(imports: dict[str, set[str]]) -> dict[tuple[str, str], list[str]]:
    """(room, room) -> which module imports which."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, others in imports.items():
        for other in others:
            rooms = _room(name), _room(other)
            # the face of the house gives its version away
            if rooms[0] != rooms[1] and "labelwise" not in rooms:
                found.setdefault(rooms, []).append(f"{name} imports {other}")
    return found


def test_every_room_has_a_floor():
    assert {_room(name) for name in MODULES} - {"labelwise"} == set().union(*FLOORS)


def test_a_room_imports_from_floors_below_alone(imports):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    strays = [
        line
        for (room, other), lines in _between_rooms(imports).items()
        if floor[other] >= floor[room]
        for line in lines
    ]
    assert strays == []


def test_the_architecture_page_shows_these_floors():
    text = (ROOT.parent.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    shown = [line.split("|")[1:3] for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    floors = [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in shown]
    assert [int(number) for number, _ in shown] == list(range(len(FLOORS), 0, -1))
    assert floors[::-1] == list(FLOORS)


@pytest.mark.parametrize("room", ONLY)
def test_some_rooms_look_at_little(room, imports):
    strays = [
        line for (one, other), lines in _between_rooms(imports).items() if one == room and other not in ONLY[room]
        for line in lines
    ]  # fmt: skip
    assert strays == []


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Some way round in a circle; [] where there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                if found := visit(other, [*way, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_a_circle_is_found():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_import_between_modules_goes_round_in_a_circle(imports):
    """Imports inside functions and lazy tables of packages count as well."""
    assert (
        _circle({name: {other for other in others if other != "labelwise"} for name, others in imports.items()}) == []
    )


def test_no_import_between_rooms_goes_round_in_a_circle(imports):
    graph: dict[str, set[str]] = {_room(name): set() for name in MODULES}
    for room, other in _between_rooms(imports):
        graph[room].add(other)
    assert _circle(graph) == []


# ---- sizes ----------------------------------------------------------------------------------------------------------

#: longer than the house rule, with the reason; nothing is added here without one
MANY_PARAMETERS = {
    "labelwise.direct.select.select": "the one call for people with arrays, all keywords",
    "labelwise.learners.torch.__init__": "constructor = configuration, all keywords after the model",
}


def _functions(trees):
    for name, path in MODULES.items():
        for node in ast.walk(trees[path]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def _code_lines(node: ast.AST) -> int:
    """Lines from the first to the last, without the docstring."""
    lines = node.end_lineno - node.lineno + 1
    text = ast.get_docstring(node, clean=False)
    return lines - (text.count("\n") + 1 if text is not None else 0)


def _declared(name: str, node: ast.FunctionDef) -> int:
    """Lines in which a command of the command line declares its options: each is a parameter with its help."""
    return node.body[0].lineno - node.lineno if name.startswith("labelwise.cli.") else 0


def test_functions_have_at_most_60_lines(trees):
    long = {
        name: lines for name, node in _functions(trees) if (lines := _code_lines(node) - _declared(name, node)) > 60
    }
    assert long == {}


def test_classes_have_at_most_250_lines(trees):
    long = {
        f"{name}.{node.name}": _code_lines(node)
        for name, path in MODULES.items()
        for node in ast.walk(trees[path])
        if isinstance(node, ast.ClassDef) and _code_lines(node) > 250
    }
    assert long == {}


def test_functions_have_at_most_7_parameters(trees):
    many = {}
    for name, node in _functions(trees):
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([a for a in arguments if a not in ("self", "cls")])
        if count > 7 and not name.startswith("labelwise.cli."):  # options of a command are its parameters
            many[name] = count
    assert set(many) == set(MANY_PARAMETERS), many


# ---- names ----------------------------------------------------------------------------------------------------------


def test_no_module_is_a_drawer():
    drawers = {"utils", "util", "common", "misc", "helpers", "helper", "core", "base_utils"}
    assert not [name for name in MODULES if set(name.split(".")) & drawers]


def test_every_module_says_what_it_is(trees):
    for name, path in MODULES.items():
        text = ast.get_docstring(trees[path])
        assert text, f"{name} has no docstring"
        assert text.splitlines()[0].endswith((".", ":")), f"the first line of {name} is no sentence"


def test_no_module_bears_a_public_name_of_its_package():
    """Importing such a module would put it where the name was."""
    for package, path in MODULES.items():
        if path.name == "__init__.py":
            public = set(getattr(importlib.import_module(package), "__all__", ()))
            beside = {name.removeprefix(f"{package}.") for name in MODULES if name.startswith(f"{package}.")}
            assert not public & beside, package


EACH_NAME_TWICE = """
import importlib, pkgutil, types
import labelwise as lw
first = {name: getattr(lw, name) for name in lw.__all__}
for info in pkgutil.walk_packages(lw.__path__, "labelwise."):
    if info.name != "labelwise.__main__":
        importlib.import_module(info.name)
for name in lw.__all__:
    once, again = getattr(lw, name), getattr(lw, name)
    assert first[name] is once is again, name
    assert not isinstance(once, types.ModuleType), name
assert callable(lw.compare)
"""


def test_public_names_stay_what_they_are_whatever_is_imported():
    for name in labelwise.__all__:
        assert getattr(labelwise, name) is getattr(labelwise, name)
    done = forked.python("-c", EACH_NAME_TWICE)
    assert done.returncode == 0, done.stderr


def test_public_names_are_what_can_be_imported():
    for name in labelwise.__all__:
        assert getattr(labelwise, name) is not None
    assert dir(labelwise) == labelwise.__all__ == sorted(labelwise.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        labelwise.nothing  # noqa: B018
    assert 20 <= len(labelwise.__all__) <= 45


@pytest.mark.parametrize(
    "name", [name for name, path in MODULES.items() if "__all__" in path.read_text() and name != "labelwise"]
)
def test_all_is_what_can_be_imported(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None


# ---- cost of an import ----------------------------------------------------------------------------------------------

HEAVY = (
    "torch",
    "numpy",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "matplotlib",
    "sqlalchemy",
    "PIL",
    "accelerate",
    "faiss",
)


def test_import_costs_nothing():
    probe = "import labelwise, sys, json; dir(labelwise); labelwise.__version__\n"
    probe += f"print(json.dumps(sorted(set(sys.modules) & set({HEAVY!r}))))"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# ---- examples in docstrings -----------------------------------------------------------------------------------------


def _with_examples() -> list[str]:
    return [name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")]


def test_examples_run():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = {name: doctest.testmod(importlib.import_module(name), optionflags=flags) for name in _with_examples()}
    assert sum(result.attempted for result in found.values()) > 100
    assert not [name for name, result in found.items() if result.failed]


def test_every_module_can_be_imported():
    for info in pkgutil.walk_packages(labelwise.__path__, "labelwise."):
        if info.name != "labelwise.__main__":
            importlib.import_module(info.name)
