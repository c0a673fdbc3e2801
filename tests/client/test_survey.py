from __future__ import annotations

from dataclasses import replace

import pytest

from gossipkv.client.survey import MemberAnswer, Survey, age_text


def answer(member: str, user: str | None, system: str = "0" * 16) -> MemberAnswer:
    figures = None if user is None else {"usr": {"fingerprint": user}, "sys": {"fingerprint": system}}
    return MemberAnswer(member, f"http://{member}", "alive", is_ready=True, figures=figures, failure=None)


@pytest.mark.parametrize(
    ("members", "has_converged"),
    [
        ([answer("a", "1"), answer("b", "1")], True),
        ([answer("a", "1"), answer("b", "2")], False),
        ([answer("a", "1", "3"), answer("b", "1", "4")], False),
        ([answer("a", "1"), answer("b", None)], True),
        ([answer("a", None), answer("b", None)], False),
    ],
)
def test_members_have_converged_when_all_that_answer_have_the_same_fingerprints(
    members: list[MemberAnswer], has_converged: bool
) -> None:
    assert Survey("gossipkv", members).has_converged is has_converged


def test_who_blocks_the_collection_of_deleted_rows_is_told_with_those_that_wait() -> None:
    waiting = [replace(answer(name, "1"), collection_blocked_by=("c", "d")) for name in ("a", "b")]
    other = replace(answer("d", "1"), collection_blocked_by=("c",))
    found = Survey("gossipkv", [*waiting, answer("c", None), other]).collection_blocked_by
    assert found == {"c": ["a", "b", "d"], "d": ["a", "b"]}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "never"), (0.04, "0.0 s"), (99.0, "99.0 s"), (600.0, "10 min"), (7200.0, "2 h")]
)
def test_an_age_is_told_in_a_fitting_unit(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text
