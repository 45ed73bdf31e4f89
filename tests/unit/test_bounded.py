"""The meter itself: what is too much is seen, and what is not is let through."""

import pytest

import bounded


@pytest.mark.heavy
def test_memory_is_measured_call_by_call():
    costs = bounded.calls("numpy:ones", [[10], [40_000_000], [10]])
    assert [round(cost.megabytes, -2) for cost in costs] == [0, 300, 0]


@pytest.mark.heavy
def test_too_much_memory_and_too_much_time_fail():
    with pytest.raises(AssertionError, match="MB above the start"):
        bounded.call("numpy:ones", 12_000_000, megabytes=80)
    with pytest.raises(AssertionError, match=r"ended: .* MB of memory"):
        bounded.call("numpy:ones", 300_000_000, megabytes=10)
    with pytest.raises(AssertionError, match="seconds"):
        bounded.call("builtins:sum", list(range(100)), seconds=0)


def test_only_exceptions_of_the_house_are_an_answer():
    cost = bounded.call("labelwise.data.images:decode", "/nowhere/a.png")
    assert cost.error == "DataError"
    assert "no such file" in cost.text
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        bounded.call("builtins:divmod", 1, 0)


@pytest.mark.heavy
def test_a_command_ends_with_its_code_and_what_it_printed(tmp_path):
    cost = bounded.command("init", tmp_path / "nothing", "-p", tmp_path)
    assert cost.error == "1"
    assert cost.text.startswith("error: ")
