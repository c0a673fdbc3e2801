"""The tool that plants faults: where it plants them, that they are live, and that a fork contains them."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation.child import EndedEarlyError, in_child
from tests.mutation.equivalent import change_of, entries, listed
from tests.mutation.live import core_files, replace_code
from tests.mutation.marks import Marked
from tests.mutation.places import Mutant, mutants, planted

SOURCE = '''
"""A module."""

def least(values: list[int], limit: int = 3) -> int | None:
    """Never 0."""
    assert limit > 0, "a limit"
    found = [value for value in values if value >= limit]
    if not found:
        return None
    return min(found)


def is_small(value: int) -> bool:
    for limit in (10,):
        if value < limit:
            return True
    return False
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "module_to_change.py"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("module_to_change", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def mutant_of(path: Path, was: str, became: str) -> Mutant:
    [found] = [m for place in mutants(path, SOURCE) for m in place if (m.was, m.became) == (was, became)]
    return found


def test_a_comparison_a_condition_and_a_name_each_have_their_faults(path: Path) -> None:
    became = {mutant.became for place in mutants(path, SOURCE) for mutant in place}
    assert {
        "found = [value for value in values if value > limit]",
        "found = [value for value in values if value < limit]",
        "found = [value for value in values]",
        "if found",
        "if False",
        "return max(found)",
        "return None",
        "if value <= limit",
        "for limit in (11,)",
    } <= became


def test_words_and_defaults_are_no_places(path: Path) -> None:
    lines = {mutant.line for place in mutants(path, SOURCE) for mutant in place}
    assert lines.isdisjoint({2, 4, 5, 6})


def test_a_fault_is_live_in_functions_that_were_imported_before(path: Path, module: ModuleType) -> None:
    least = module.least
    assert least([5, 3]) == 3
    fault = mutant_of(path, "return min(found)", "return max(found)")
    assert replace_code({path: planted(SOURCE, fault)}) == 1 + 1
    assert least([5, 3]) == 5


def test_marks_tell_what_ran_and_which_way_conditions_went(path: Path, module: ModuleType) -> None:
    marked = Marked([path])
    marks = marked.plant()
    module.least([1])
    module.is_small(1)
    assert sorted({(mark.line, mark.says) for mark, is_met in zip(marked.marks, marks, strict=True) if not is_met}) == [
        (7, "`value >= limit` is never true"),
        (8, "`not found` is never false"),
        (10, "never runs"),
        (15, "`value < limit` is never false"),
        (17, "never runs"),
    ]


def test_what_a_fork_changes_stays_there() -> None:
    held = [1]

    def add() -> int:
        held.append(2)
        return len(held)

    assert in_child(add, 30) == 2
    assert held == [1]


def test_a_fork_that_does_not_end_is_ended() -> None:
    def wait() -> None:
        while True:
            signal.pause()

    with pytest.raises(EndedEarlyError):
        in_child(wait, 0.2)


def test_a_fork_that_dies_is_told_from_one_that_answers() -> None:
    with pytest.raises(EndedEarlyError):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 30)


def test_an_error_in_a_fork_is_an_error_here() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        in_child(lambda: 1 // 0, 30)


def test_an_entry_for_a_survivor_is_read_back(path: Path, tmp_path: Path) -> None:
    fault = mutant_of(path, "return min(found)", "return max(found)")
    listing = tmp_path / "listing.toml"
    listing.write_text(entries([fault], "all values are equal"))
    assert listed(listing) == {change_of(fault): "all values are equal"}


def test_every_fault_that_is_listed_as_equivalent_can_still_be_planted_and_has_a_reason() -> None:
    names = {name for name, *_ in listed()}
    known = {
        change_of(m) for p in core_files() if p.name in names for place in mutants(p, p.read_text()) for m in place
    }
    assert listed().keys() - known == set()
    assert [change for change, reason in listed().items() if len(reason) < 20] == []
