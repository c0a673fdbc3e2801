"""Stores that hold many rows already. Each size is made once, through the core, and then copied.

A copy can be given to another member: it gets a replica id of its own and holds what it would hold had it received
every row.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

from benchmarks.processes import StepError
from benchmarks.rows import TABLE, groups, row_key, row_value
from gossipkv.core.inputs import Write
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.storage import Identity
from gossipkv.member.group_commit import GroupCommit
from gossipkv.member.node import wall_clock_ms
from gossipkv.storage.lmdb import LmdbStorage

ORIGIN = "gossipkv-0"
"""The member that has written every row of a seed."""
CLUSTER = "gossipkv"
MAKING_TIMEOUT_S = 300.0


class Seeds:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[int, Path] = {}

    def copy(self, rows: int, target: Path, member: str = ORIGIN) -> None:
        """The data directory of a member that holds so many rows; `target` must not exist. Raises StepError."""
        if rows not in self._made:
            path = self._directory / f"seed-{rows}"
            _make(path, rows)
            self._made[rows] = path
        target.mkdir(parents=True)
        shutil.copyfile(self._made[rows] / "data.mdb", target / "data.mdb")
        if member != ORIGIN:
            _give_to(target, member, rows)


def put_of(number: int) -> Operation:
    return Operation(address_of(TABLE, row_key(number)), row_value(number))


def _make(path: Path, rows: int) -> None:
    began = time.monotonic()
    storage = LmdbStorage(path)
    try:
        options = ReplicaOptions(cluster=CLUSTER, member=ORIGIN)
        driver, _ = GroupCommit.open(storage, options, random.Random(rows), wall_clock_ms())
        for group in groups(rows):
            [outcome] = driver.run([Write(USER, tuple(map(put_of, group)))], wall_clock_ms()).outcomes
            if isinstance(outcome, Exception):
                raise StepError(f"a store of {rows} rows could not be made: {outcome}") from outcome
            if time.monotonic() - began > MAKING_TIMEOUT_S:
                raise StepError(f"a store of {rows} rows was not made within {MAKING_TIMEOUT_S:.0f} s")
    finally:
        storage.close()


def _give_to(path: Path, member: str, seed: int) -> None:
    storage = LmdbStorage(path)
    try:
        transaction = storage.begin()
        transaction.put_identity(Identity(CLUSTER, member, random.Random(f"{member}{seed}").getrandbits(64), 0))
        transaction.commit()
    finally:
        storage.close()
