"""What it costs that fingerprints are made of contents, beside ones made of dots alone."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import xxhash

from benchmarks.bench import Bench
from benchmarks.figures import median, median_ratio, times
from benchmarks.rows import TABLE, groups, row_key
from benchmarks.seeds import ORIGIN, put_of
from benchmarks.sides import Pair, Side
from benchmarks.table import Line
from gossipkv.core.inputs import Write
from gossipkv.core.model import fingerprint
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Dot
from gossipkv.core.model.fingerprint import term_of
from gossipkv.core.model.row import Version
from gossipkv.core.model.write import Operation
from gossipkv.core.transfer import walk

TITLE = "Fingerprints of contents"
METHOD = """\
One process, CPU in user and kernel mode; the yardstick is the same code with a term that is the hash of address and dot
alone, in interleaved rounds. *Term* is one call. *Put* is one row of a batch through the replica and LMDB, each
replacing a value of its size. *Walk* brings a member without data all rows, exchanges carried by hand; *audit* is a
walk between two members that hold the same number of rows under the same keys, of which none is equal: every leaf is
listed and every row is fetched."""

VALUE_BYTES = (100, 10_000, 1_000_000)
OTHER = "gossipkv-1"
_CALLS = 2_000
_BATCH_BYTES = 20_000_000
_DOT = struct.Struct(">QQ").pack

Term = Callable[[bytes, Version], int]


def _term_of_dot(address: bytes, version: Version) -> int:
    return xxhash.xxh3_64_intdigest(address + _DOT(*version.dot))


@contextmanager
def _terms(term: Term) -> Iterator[None]:
    """Let every fingerprint be made of these terms."""
    modules = (fingerprint, walk)
    for module in modules:
        setattr(module, "term_of", term)  # noqa: B010 (the name is one for the type checker too)
    try:
        yield
    finally:
        for module in modules:
            setattr(module, "term_of", term_of)  # noqa: B010


def measure(bench: Bench) -> list[Line]:
    lines = [_line(f"term, {size:,} bytes", _rounds(bench, _term_us, size), "µs") for size in VALUE_BYTES]
    lines += [_line(f"put, {size:,} bytes", _rounds(bench, _put_us, size), "µs") for size in VALUE_BYTES]
    rows = bench.scale.store_rows[0]
    lines.append(_line(f"walk, {rows:,} rows of 100 bytes, per row", _rounds(bench, _walk_us, rows), "µs"))
    lines.append(_line(f"audit, {rows:,} rows of 100 bytes, per row", _rounds(bench, _audit_us, rows), "µs"))
    return lines


def _rounds(bench: Bench, once: Callable[[Bench, int, Term], float], size: int) -> tuple[list[float], list[float]]:
    """Microseconds of both sides, one after the other in each round."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(bench.scale.rounds):
        for term, found in ((term_of, ours), (_term_of_dot, theirs)):
            with _terms(term):
                found.append(once(bench, size, term))
    return ours, theirs


def _line(what: str, found: tuple[list[float], list[float]], unit: str) -> Line:
    ours, theirs = found
    return Line(what, f"{median(ours):,.2f} {unit}", f"{median(theirs):,.2f} {unit}", times(median_ratio(ours, theirs)))


def _term_us(_: Bench, value_bytes: int, term: Term) -> float:
    address = address_of(TABLE, row_key(1))
    versions = [Version(Dot(2**63, number + 1), number << 16, bytes(value_bytes)) for number in range(20)]
    began = time.process_time()
    for version in versions * (_CALLS // len(versions)):
        term(address, version)
    return (time.process_time() - began) / _CALLS * 1e6


def _put_us(bench: Bench, value_bytes: int, _: Term) -> float:
    rows = min(bench.scale.batch_rows, _BATCH_BYTES // (value_bytes + 1_000))
    side = Side(ORIGIN, bench.new_directory(f"puts-{time.monotonic_ns()}"))
    try:
        batches = [
            tuple(Operation(address_of(TABLE, row_key(number)), bytes(value_bytes)) for number in group)
            for group in groups(rows)
        ]
        for batch in batches:
            side.take(Write(USER, batch))
        began = time.process_time()
        for batch in batches:
            side.take(Write(USER, batch))
        return (time.process_time() - began) / rows * 1e6
    finally:
        side.close()


def _pair(bench: Bench) -> Pair:
    directory = bench.new_directory(f"pair-{time.monotonic_ns()}")
    return Pair(Side(OTHER, directory / OTHER), Side(ORIGIN, directory / ORIGIN))


def _walk_us(bench: Bench, rows: int, _: Term) -> float:
    pair = _pair(bench)
    try:
        for group in groups(rows):
            pair.theirs.take(Write(USER, tuple(map(put_of, group))))
        pair.lose_sends()
        pair.begin_round()
        return pair.carry_all().cpu_ms / rows * 1e3
    finally:
        pair.close()


def _audit_us(bench: Bench, rows: int, _: Term) -> float:
    pair = _pair(bench)
    try:
        for side in (pair.theirs, pair.ours):
            for group in groups(rows):
                side.take(Write(USER, tuple(map(put_of, group))))
        pair.lose_sends()
        pair.begin_round()
        return pair.carry_all().cpu_ms / rows * 1e3
    finally:
        pair.close()
