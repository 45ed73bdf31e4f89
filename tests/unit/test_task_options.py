"""Options of tasks in configurations: as strategies have them, by name, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from PIL import Image

import tiny
from commands import as_json, refused, run
from labelwise.assemble import check_names, make_task
from labelwise.config import InputConfig, ProjectConfig, RecipeConfig, TaskConfig, parse, write_yaml
from labelwise.contracts.input import InputSpec
from labelwise.errors import ConfigError
from labelwise.formats.yaml_text import read_settings
from labelwise.recipes import find
from labelwise.tasks.classification import Classification


@dataclass(frozen=True)
class Graded(Classification):
    """Somebody's own task, with options of its own."""

    name = "graded"
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=InputSpec)
    sides: tuple[tuple[str, int], ...] = ()
    strict: bool = False

    def __post_init__(self) -> None:
        if any(number < 0 for _, number in self.sides):
            raise ValueError("a side is negative")


def _project(task):
    return parse(ProjectConfig, {"images": "x", "task": task}, where="labelwise.yaml")


# ---- said -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task", [{"name": "detection", "top": 20, "augment": "flip"},
             {"name": "detection", "options": {"top": 20, "augment": "flip"}}],
)  # fmt: skip
def test_options_beside_the_name_reach_the_task(task, tmp_path):
    config = _project(task)
    check_names(config)
    made = make_task(config.task, ("a",), config.input)
    assert (made.top, made.augment, made.overlap) == (20, "flip", 0.5)
    write_yaml(config, tmp_path / "labelwise.yaml")
    kept = read_settings(tmp_path / "labelwise.yaml")
    assert kept["task"] == {"name": "detection", "top": 20, "augment": "flip"}
    assert parse(ProjectConfig, kept, where="x") == config
    assert config.task.label == "detection(top=20, augment=flip)"


def test_a_name_alone_means_the_defaults_and_stays_one(tmp_path):
    config = _project("detection")
    assert config.task == TaskConfig(name="detection")
    write_yaml(config, tmp_path / "labelwise.yaml")
    assert read_settings(tmp_path / "labelwise.yaml")["task"] == "detection"
    write_yaml(_project("classification"), tmp_path / "labelwise.yaml")
    assert "task" not in read_settings(tmp_path / "labelwise.yaml")


def test_an_option_at_its_default_names_the_same_training():
    said = TaskConfig(options={"augment": "auto"})
    made = [make_task(task, ("a", "b"), InputConfig(size=8, channels=1)) for task in ("classification", said)]
    assert tiny.torch_learner(made[0]).config == tiny.torch_learner(made[1]).config


def test_a_task_of_ones_own_has_options_too():
    config = _project({"name": "test_task_options:Graded", "sides": [["left", 1]], "strict": True})
    check_names(config)
    made = make_task(config.task, ("a", "b"), config.input)
    assert (made.sides, made.strict) == ((("left", 1),), True)
    assert hash(made), "lists of files are tuples"


def test_files_of_before_say_augment_under_input(tmp_path):
    old = parse(RecipeConfig, {"data": {"source": "x"}, "task": "segmentation", "input": {"augment": "all"}}, where="x")
    assert old.task == TaskConfig(name="segmentation", options={"augment": "all"})
    assert parse(ProjectConfig, {"images": "x", "input": {"augment": None, "size": 8}}, where="x").task == TaskConfig()
    with pytest.raises(ConfigError, match="augment is 'flip' under task and 'all' under input"):
        parse(
            ProjectConfig,
            {"images": "x", "task": {"name": "detection", "augment": "flip"}, "input": {"augment": "all"}},
            where="x",
        )


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"name": "detection", "tpo": 3}, r"option of task 'detection' 'tpo': did you mean 'top'\? Allowed: augm"),
        ({"name": "detection", "top": "many"}, "task 'detection' got top = 'many' .str.: give int"),
        ({"name": "detection", "augment": "shift"}, "value of 'augment' for task 'detection': 'shift'.*flip_scale"),
        ({"name": "classification", "augment": "flip_scale"}, "augment"),
        ({"name": "detection", "classes": ["a"]}, "unknown option of task 'detection' 'classes'"),
        ({"name": "detectoin"}, "did you mean 'detection'"),
        ({"name": "test_task_options:Graded", "strict": 1}, "got strict = 1"),
    ],
)  # fmt: skip
def test_what_a_task_does_not_take_is_refused_before_anything_is_read(task, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_names(_project(task))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_what_only_the_task_can_judge_is_refused_by_it():
    with pytest.raises(ConfigError, match="top is 0"):
        make_task(TaskConfig(name="detection", options={"top": 0}), ("a",), InputConfig())
    with pytest.raises(ConfigError, match=r"refuses .* a side is negative"):
        make_task(
            TaskConfig(name="test_task_options:Graded", options={"sides": [["l", -1]]}), ("a", "b"), InputConfig()
        )


@pytest.mark.parametrize("task", [3, ["detection"], {"name": 3}, {"options": 3}])
def test_what_is_no_task_is_refused_in_one_line(task):
    with pytest.raises(ConfigError, match=r"labelwise\.yaml: task") as caught:
        _project(task)
    assert "\n" not in str(caught.value)


# ---- on the command line --------------------------------------------------------------------------------------------


def test_flags_go_over_the_recipe(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("data: {source: x}\ntask: {name: segmentation}\ninput: {augment: all}\n")
    assert find(str(file)).recipe.task.options == {"augment": "all"}
    assert find(str(file), {"task": {"options": {"augment": "none"}}}).recipe.task.options == {"augment": "none"}
    assert find(str(file), {"task": "segmentation"}).recipe.task.options == {"augment": "all"}
    assert find(str(file), {"task": "detection"}).recipe.task == TaskConfig(name="detection")


def test_set_says_options_of_the_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for number in range(3):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 40 * number).save(tmp_path / "images" / name / f"{number}.png")
    for setting, said in (("task.agment=none", "did you mean 'augment'"), ("task.augment=spin", "shift_flip")):
        assert said in refused("init", "images", "--set", setting)
        assert said in refused("compare", "images", "--set", setting)
    made = as_json("init", "images", "--set", "task.augment=none")
    assert (made["task"], made["task_options"]) == ("classification", {"augment": "none"})
    assert read_settings(tmp_path / "labelwise.yaml")["task"] == {"name": "classification", "augment": "none"}
    assert "configuration: classification(augment=none)," in run("check").output
    assert "task: {name: ..., augment: auto}" in refused("suggest", "-n", "2", "--set", "task.augment=auto")
    run("init", "images", "--set", "task.augment=none")
    assert "already with task" in refused("init", "images", "--set", "task.augment=shift")


def test_list_names_them():
    rows = {row["name"]: row["options"] for row in as_json("list", "tasks")}
    assert rows["detection"]["top"] == 100
    assert rows["segmentation"] == {"augment": "flip", "dice": 1.0}
