"""Mutants that change nothing, each with the reason. A change of the code around it does not matter; line numbers are
not compared."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.mutation.places import Mutant

FILE = Path(__file__).with_name("equivalent.toml")

Change = tuple[str, str, str, str]
"""The name of the file, the function, and the statement before and after."""


def change_of(mutant: Mutant) -> Change:
    return mutant.path.name, mutant.function, mutant.was, mutant.became


def listed(path: Path = FILE) -> dict[Change, str]:
    """The reasons by change. Raises ValueError if an entry has none."""
    entries = tomllib.loads(path.read_text()).get("equivalent", []) if path.exists() else []
    return {(each["file"], each["function"], each["was"], each["became"]): each["reason"] for each in entries}


def entries(mutants: Iterable[Mutant], reason: str = "") -> str:
    """Entries for these mutants, to be completed with a reason."""
    blocks = []
    for mutant in mutants:
        names = ("file", "function", "was", "became")
        fields = [f"{name} = {json.dumps(text)}" for name, text in zip(names, change_of(mutant), strict=True)]
        blocks.append("\n".join(["[[equivalent]]", *fields, f"reason = {json.dumps(reason)}"]))
    return "\n\n".join(blocks) + "\n"
