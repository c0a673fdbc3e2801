"""The layout that docs/decisions/0012 describes: a room is small enough to be seen at once."""

from __future__ import annotations

from pathlib import Path

import gossipkv

MODULES_MAX = 15
PACKAGE = Path(gossipkv.__file__).parent


def test_no_room_holds_more_modules_than_can_be_seen_at_once() -> None:
    rooms = {
        str(folder.relative_to(PACKAGE)): len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        for folder in [PACKAGE, *PACKAGE.rglob("*")]
        if folder.is_dir()
    }
    assert {room: modules for room, modules in rooms.items() if modules > MODULES_MAX} == {}
    assert sum(rooms.values()) > 100, "the modules were found"


def test_every_room_says_what_is_in_it() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert path.read_text().startswith('"""'), path
