from __future__ import annotations

from dataclasses import replace
from typing import Any

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


SAME = [answer("a", "1"), answer("b", "1"), answer("c", "1")]
OFF = {"ahead_seconds": 1200.0, "off": True, "compared_with": 2}
SHORT = {"room": "scarce", "used_bytes": 80, "capacity_bytes": 100}


def test_the_verdict_on_members_that_hold_the_same_is_one_line() -> None:
    verdict = Survey("gossipkv", SAME).verdict
    assert (verdict.ok, verdict.text) == (True, "3 of 3 members answer and hold the same rows")


def test_a_member_that_has_left_does_not_count() -> None:
    left = replace(answer("d", None), status="left", failure="cannot be reached")
    verdict = Survey("gossipkv", [*SAME, left]).verdict
    assert (verdict.ok, verdict.text) == (True, "3 of 3 members answer and hold the same rows")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"figures": None, "failure": "cannot be reached"},
            "2 of 3 members answer: c does not answer (cannot be reached)",
        ),
        ({"clock": OFF}, "c refuses writes, because its clock is 20 min ahead of the others': set it right"),
        ({"clock": OFF | {"ahead_seconds": -1200.0}}, "20 min behind the others'"),
        ({"storage": SHORT}, "c is short of room"),
        ({"refusing": ("clock_skew",)}, "c refuses or lacks rows of others (clock_skew)"),
        ({"lacking": ({"reason": "undecodable"},)}, "c refuses or lacks rows of others (undecodable)"),
        ({"unreadable_rows": 2}, "c cannot read 2 rows"),
        ({"descriptors": {"open": 99, "limit": 100, "short_seconds": 1.0}}, "99 of 100 file descriptors open"),
        ({"alone_seconds": 30.0}, "c reaches no other member"),
        ({"is_ready": False}, "c is not ready"),
        ({"run_twice": {"b": "b runs twice: stop one"}}, "b runs twice: stop one"),
    ],
)
def test_the_verdict_says_what_is_wrong_and_what_to_do(changed: dict[str, Any], text: str) -> None:
    verdict = Survey("gossipkv", [*SAME[:2], replace(SAME[2], **changed)]).verdict
    assert not verdict.ok
    assert text in verdict.text
    assert "\n" not in verdict.text


def test_the_verdict_on_members_that_differ_says_so() -> None:
    verdict = Survey("gossipkv", [answer("a", "1"), answer("b", "2")]).verdict
    assert not verdict.ok
    assert verdict.text.startswith("2 of 2 members answer and do not hold the same rows: wait")


def test_the_verdict_names_the_first_trouble_and_counts_the_others() -> None:
    members = [SAME[0], replace(SAME[1], clock=OFF), replace(SAME[2], storage=SHORT)]
    assert Survey("gossipkv", members).verdict.text.endswith("set it right (and 1 more)")


def test_the_verdict_names_a_wrong_clock_before_the_refusals_that_it_causes() -> None:
    members = [*(replace(each, refusing=("clock_skew",)) for each in SAME[:2]), replace(SAME[2], clock=OFF)]
    text = Survey("gossipkv", members).verdict.text
    assert f"{SAME[2].member} refuses writes, because its clock is" in text
    assert text.endswith("set it right (and 2 more)")


def test_an_endpoint_where_no_member_answers_is_told_with_those_that_try_it_and_is_no_trouble() -> None:
    members = [replace(each, unreached=("http://x:1",)) for each in SAME[:2]]
    found = Survey("gossipkv", [*members, SAME[2]])
    assert found.unreached == {"http://x:1": [each.member for each in SAME[:2]]}
    assert found.verdict.ok


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
