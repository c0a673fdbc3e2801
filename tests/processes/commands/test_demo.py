"""The demonstrations, as a user sees them."""

from __future__ import annotations

import pytest

from tests.processes.conftest import Start


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("quorum", ("2 members have it", "is not stored anywhere", "rows 1001, 1002")),
        ("siblings", ('["bread", "tea"] and ["milk", "tea"]', 'gossipkv-2: ["bread", "milk", "tea"], 1 value')),
        ("read-repair", ("and answers '20'", "now answers '20'")),
        ("membership", ("'gossipkv-2': 'dead'", "it answers 'grey'", "'gossipkv-2': 'left'")),
        ("partition", ("theme is 'dark, from the left'", "rows left, right, theme", "later one stands everywhere")),
    ],
)
def test_a_demonstration_shows_what_it_is_for(start: Start, name: str, shown: tuple[str, ...]) -> None:
    demo = start("demo", name, "--http-port", 17_180)
    assert demo.ends() == 0, demo.output
    for words in shown:
        assert words in demo.output
