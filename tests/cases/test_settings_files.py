"""Settings that people wrote, and that no reader of YAML is ready for: one line with the place, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import bounded
from commands import refused
from labelwise.config import ProjectConfig, parse, read_yaml
from labelwise.errors import ConfigError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "more than 100,000 values"),
        (f"seed: {'9' * 5000}", "a number of 5,000 characters"),
        (f"seed: -{'9' * 401}", "a number of 402 characters"),
        ("seed: 1e999", "1e999 is not finite"),
        ("seed: .inf", ".inf is not finite"),
        (f"input: {'[' * 3000}", "no valid YAML"),
        (f"input: {'[' * 30}{']' * 30}", "more than 24 lists and mappings lie within each other"),
        ("seed: 1\nseed: 2", "line 3: the key 'seed' stands twice"),
        ("? [a]\n: b", "a key is a list or a mapping"),
        ("seed: !!int x", "the tag"),
        ("seed: !!python/object/apply:os.system ['true']", "the tag"),
        ("root: !!bool x", "the tag"),
        ("root: *nowhere", "*nowhere stands for nothing"),
        ("---\nseed: 2", "a second document begins"),
        ('root: "\\uD800"', ""),
        ('root: "\\U7fffffff"', "no valid YAML"),
        ("root: 'half", "no valid YAML"),
        ("\tseed: 1", "no valid YAML"),
        ("just words", "no valid YAML"),
        ("input: [1, 2]", "input"),
        ("images: 3", "images"),
        ("classes: 7", "classes"),
    ],
)
def test_what_is_no_setting_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "labelwise.yaml"
    file.write_text(f"images: img\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        parse(ProjectConfig, read_yaml(file), where=file.name)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message.replace(str(tmp_path), "")) <= 300


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", b"images: \x00", b"\x80\x81"])
def test_bytes_that_are_no_text_are_refused(tmp_path, text):
    file = tmp_path / "labelwise.yaml"
    file.write_bytes(text)
    with pytest.raises(ConfigError):
        parse(ProjectConfig, read_yaml(file), where=file.name)


def test_a_file_as_large_as_a_film_is_not_read(tmp_path):
    file = tmp_path / "labelwise.yaml"
    with file.open("wb") as opened:
        opened.truncate(20_000_000_000)
    cost = bounded.call("labelwise.formats.yaml_text:read_settings", str(file))
    assert cost.error == "FormatError"
    assert "20,000,000,000 bytes" in cost.text


def test_names_stay_what_was_written(tmp_path):
    file = tmp_path / "labelwise.yaml"
    file.write_text("images: 2001-99-99\nclasses: [no, yes, 010, 1.0, null, ~, 'true', 2001-01-01]\nseed: 3\n")
    config = parse(ProjectConfig, read_yaml(file), where=file.name)
    assert config.classes == ("no", "yes", "010", "1.0", "null", "~", "true", "2001-01-01")
    assert (config.images, config.seed) == ("2001-99-99", 3)


@pytest.mark.heavy
@pytest.mark.parametrize("value", ["*a", "[" * 100, "!!int x", "9" * 500])
def test_options_of_a_command_are_read_as_the_file_is(tmp_path: Path, value):
    text = bounded.command("suggest", "--set", f"pool={value}", "--project", tmp_path).text
    assert "--set" in text
    assert "bug" not in text


def test_a_recipe_is_read_as_settings_are(tmp_path):
    (tmp_path / "r.yaml").write_text("data: {source: digits}\ndata: {source: other}\n")
    assert "the key 'data' stands twice" in refused("compare", tmp_path / "r.yaml")
