"""The metrics of a member, for Prometheus, in base units. Labels are bounded: members, shards, routes, fixed words.

Events are counted as they happen; state is taken from a `ReplicaStatus` when the metrics are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from gossipkv.codec.limits import MALFORMED, PROTOCOL, TOO_LARGE
from gossipkv.codec.rows import ROW_TOO_LARGE, UNDECODABLE, VALUE_TOO_LARGE
from gossipkv.core.effects import Arrival
from gossipkv.core.membership.membership import AHEAD, ENDPOINT, TOO_MANY
from gossipkv.core.model.lacking import TOO_MANY_ORIGINS
from gossipkv.core.model.member import ALIVE, DEAD, LEFT, SUSPECT
from gossipkv.core.model.room import NO_ROOM
from gossipkv.core.model.tally import ANOMALIES
from gossipkv.core.status import MemberStatus, ReplicaStatus
from gossipkv.core.store.shortage import AMPLE_ROOM, RoomStatus
from gossipkv.core.transfer.fetch import DAMAGED
from gossipkv.intake.bound import Bound, Refusals
from gossipkv.transport.base import Fault

_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_REQUEST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DELAY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# Omit the series that says, for each counter, when the process began: that is known.
disable_created_metrics()  # type: ignore[no-untyped-call]

_ROW_REASONS = (
    "clock_skew",
    "inconsistent",
    DAMAGED,
    NO_ROOM,
    ROW_TOO_LARGE,
    TOO_MANY_ORIGINS,
    UNDECODABLE,
    VALUE_TOO_LARGE,
)
_RECORD_REASONS = (AHEAD, ENDPOINT, TOO_MANY)
PEERS_MAX = 100
_ENVELOPE_REASONS = ("name_taken", "other_cluster")
_FINGERPRINT_END = 2**48
"""The end of the fingerprint's values in metrics. Prometheus keeps doubles, which hold at most 53 bits exactly."""

_BATCH_INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The instruments of one member, in a registry of their own.

    If the values of a label are known, their series are there from the start. To Prometheus, a counter that appears at
    1 has not grown, so an alert on its growth would miss the first event.
    """

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = _RequestCollector()
        registry.register(self._requests)
        self.commits = Counter(
            "gossipkv_commits", "Batches that were committed or that failed", ["result"], registry=registry
        )
        self.commit_seconds = Histogram(
            "gossipkv_commit_seconds",
            "Time of a batch in the core and until its fsync has returned",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.commit_inputs = Histogram(
            "gossipkv_commit_inputs", "Inputs in one batch", buckets=_BATCH_INPUTS, registry=registry
        )
        self.inbox_operations = Gauge(
            "gossipkv_inbox_operations", "Operations that wait for their commit", registry=registry
        )
        self.storage_used = Gauge("gossipkv_storage_used_ratio", "Share of the storage in use", registry=registry)
        self.gossip_bytes = Counter("gossipkv_gossip_bytes", "Bytes of gossip frames", ["direction"], registry=registry)
        self.exchange_failures = Counter(
            "gossipkv_exchange_failures",
            "Exchanges that this member began and that failed",
            ["fault"],
            registry=registry,
        )
        self.frames_refused = Counter(
            "gossipkv_frames_refused",
            "Frames that could not be decoded and were not answered",
            ["reason"],
            registry=registry,
        )
        self.replication_delay = Histogram(
            "gossipkv_replication_delay_seconds",
            "Time from a write at its origin until it is durable here",
            ["origin"],
            buckets=_DELAY_SECONDS,
            registry=registry,
        )
        self.loop_restarts = Counter(
            "gossipkv_loop_restarts", "Restarts of loops that died", ["loop"], registry=registry
        )
        self.discovered = Gauge(
            "gossipkv_discovered_endpoints", "Endpoints of others that discovery last found", registry=registry
        )
        self.discovery_failures = Counter(
            "gossipkv_discovery_failures", "Failed attempts of discovery", registry=registry
        )
        self.set_aside = Gauge(
            "gossipkv_set_aside_directories",
            "Sets of outdated data that the member had set aside when it started",
            registry=registry,
        )
        self.watchers = Gauge("gossipkv_watchers", "Watches under way", registry=registry)
        self.watches_dropped = Counter(
            "gossipkv_watches_dropped", "Watches ended because unread events took too much room", registry=registry
        )
        self.watch_events = Counter("gossipkv_watch_events", "Events sent to watchers", registry=registry)
        self.watch_resets = Counter(
            "gossipkv_watch_resets", "Watches that could not resume and were sent all current rows", registry=registry
        )
        self.quorum_writes = Counter(
            "gossipkv_quorum_writes", "Writes that asked for several copies", ["result"], registry=registry
        )
        self.peers_max = PEERS_MAX
        """The maximum number of members that have series of their own."""
        self._origins: set[str] = set()
        """The members that have a series of their own for the replication delay."""
        self._intake = _IntakeCollector()
        registry.register(self._intake)
        self._status = _StatusCollector()
        registry.register(self._status)
        ProcessCollector(registry=registry)
        _start_at_zero(self.commits, ("committed", "failed"))
        _start_at_zero(self.quorum_writes, ("copied", "stored_here", "nothing_stored"))
        _start_at_zero(self.gossip_bytes, ("in", "out"))
        _start_at_zero(self.frames_refused, (MALFORMED, PROTOCOL, TOO_LARGE))
        _start_at_zero(self.exchange_failures, tuple(fault.value for fault in Fault))
        _start_at_zero(self.loop_restarts, ("discovery", "tick", "feed"))

    def account_for(self, *counted: Bound | Refusals) -> None:
        """Report what these hold and refuse from now on, in place of earlier ones of the same names."""
        for one in counted:
            if isinstance(one, Bound):
                self._intake.bounds[one.name] = one
                one = one.refusals
            self._intake.refusals[one.cause] = one

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. `route` is the template, never the path, so that labels stay bounded."""
        self._requests.observe((method, route, status), seconds)

    def observe_arrivals(self, arrivals: Iterable[Arrival], now_ms: int) -> None:
        """Record the delays of writes that have become durable here. A delay is at least 0: the origin's clock may be
        ahead."""
        for origin, written_ms in arrivals:
            if origin not in self._origins:
                if len(self._origins) >= self.peers_max:
                    origin = "other"
                else:
                    self._origins.add(origin)
            self.replication_delay.labels(origin).observe(max(0, now_ms - written_ms) / 1000)

    def render(self, status: ReplicaStatus) -> bytes:
        """Return all metrics in Prometheus' text format, with the state as of `status`."""
        self._status.status = _with_peers(status, self.peers_max)
        self._status.members = status.members
        return generate_latest(self.registry)


def _with_peers(status: ReplicaStatus, peers_max: int) -> ReplicaStatus:
    """Return the status with at most `peers_max` other members. Members that are alive and have been heard come
    first."""
    own = [member for member in status.members if member.is_self]
    others = [member for member in status.members if not member.is_self]
    if len(others) <= peers_max:
        return status
    others.sort(key=lambda each: (each.status != ALIVE, not _is_heard(each), each.member))
    return replace(status, members=tuple(sorted(own + others[:peers_max], key=lambda each: each.member)))


def _is_heard(member: MemberStatus) -> bool:
    return any(shard.heard_ms is not None for shard in member.shards.values())


def _start_at_zero(counter: Counter, values: Iterable[str]) -> None:
    for value in values:
        counter.labels(value)


class _RequestCollector:
    """Counts of requests in plain lists. The library's instruments take a lock each, which would slow reads down."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], list[int]] = {}
        """The requests by method, route and status, in each bucket. The last bucket has no bound."""
        self._seconds: dict[tuple[str, str, int], float] = {}

    def observe(self, key: tuple[str, str, int], seconds: float) -> None:
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * (len(_REQUEST_SECONDS) + 1)
            self._seconds[key] = 0.0
        counts[bisect_left(_REQUEST_SECONDS, seconds)] += 1
        self._seconds[key] += seconds

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "gossipkv_http_requests", "Requests answered", labels=["method", "route", "status"]
        )
        seconds = HistogramMetricFamily(
            "gossipkv_http_request_seconds", "Time to answer a request", labels=["method", "route", "status"]
        )
        bounds = [*map(str, _REQUEST_SECONDS), "+Inf"]
        for (method, route, status), counts in sorted(self._counts.items()):
            labels = [method, route, str(status)]
            requests.add_metric(labels, sum(counts))
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            seconds.add_metric(labels, buckets, self._seconds[method, route, status])
        yield requests
        yield seconds


class _IntakeCollector:
    """A collector that takes samples from bounds at the time of a scrape."""

    def __init__(self) -> None:
        self.bounds: dict[str, Bound] = {}
        self.refusals: dict[str, Refusals] = {}

    def collect(self) -> Iterable[Metric]:
        bounds = sorted(self.bounds.items())
        yield _gauge("intake_used", "Amount held now", ["bound"], (([n], bound.used) for n, bound in bounds))
        yield _gauge(
            "intake_limit", "Maximum amount that may be held", ["bound"], (([n], bound.limit) for n, bound in bounds)
        )
        yield _counter(
            "intake_refused",
            "Requests and connections refused or cut off because of a bound or deadline",
            ["cause"],
            (([cause], refusals.total) for cause, refusals in sorted(self.refusals.items())),
        )


class _StatusCollector:
    """A collector that turns a status into samples at the time of a scrape."""

    def __init__(self) -> None:
        self.status: ReplicaStatus | None = None
        """The status, with only the members that have series of their own."""
        self.members: tuple[MemberStatus, ...] = ()
        """All members."""

    def collect(self) -> Iterable[Metric]:
        if self.status is None:
            return
        yield from _shards(self.status)
        yield from _members(self.status, self.members)
        yield from _unreadable(self.status)
        yield from _room(self.status.room)
        yield from _tally(self.status)


def _gauge(name: str, text: str, labels: list[str], samples: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(f"gossipkv_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, text: str, labels: list[str], samples: Iterable[tuple[list[str], float]]) -> Metric:
    family = CounterMetricFamily(f"gossipkv_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _shards(status: ReplicaStatus) -> Iterable[Metric]:
    totals = sorted(status.totals.items())
    own = next(member for member in status.members if member.is_self)
    yield _gauge("rows", "Visible rows", ["shard"], (([name], total.rows) for name, total in totals))
    yield _gauge("tombstones", "Deleted rows", ["shard"], (([name], total.tombstones) for name, total in totals))
    yield _gauge(
        "row_bytes", "Keys and values of visible rows", ["shard"], (([n], total.value_bytes) for n, total in totals)
    )
    yield _gauge(
        "rows_behind",
        "Writes that others are known to cover and this member does not",
        ["shard"],
        (([name], shard.rows_behind) for name, shard in sorted(own.shards.items())),
    )
    lacking = [row.shard for row in status.lacking]
    yield _gauge(
        "rows_lacking",
        "Rows that the member knows of and does not hold",
        ["shard"],
        (([n], float(lacking.count(n))) for n, _ in totals),
    )
    yield _gauge(
        "transfers", "Pulls and walks under way", ["shard"], (([n], float(n in status.transfers)) for n, _ in totals)
    )
    yield _gauge(
        "context_entries",
        "Replicas whose writes messages of this member name",
        ["shard"],
        (([name], status.context_entries.get(name, 0)) for name in sorted(status.totals)),
    )
    yield _gauge(
        "fingerprint",
        "Low 48 bits of the fingerprint of visible rows: equal at members that hold the same",
        ["shard"],
        (([name], shard.fingerprint % _FINGERPRINT_END) for name, shard in sorted(own.shards.items())),
    )
    yield _gauge("ready", "Whether the member is ready", [], [([], float(status.is_ready))])
    is_alone = float(status.alone_ms is not None)
    yield _gauge("alone", "Whether the member knows of others and reaches none", [], [([], is_alone)])
    yield _gauge(
        "clock_off",
        "Whether the member refuses writes because its clock differs from the median by more than is tolerated",
        [],
        [([], float(status.clock.is_off))],
    )
    yield _gauge(
        "endpoints_unreached",
        "Endpoints that discovery gives and at which no member has answered yet",
        [],
        [([], len(status.unreached))],
    )
    ahead_ms = status.clock.ahead_ms
    yield _gauge(
        "clock_ahead_seconds",
        "Seconds by which the member's clock is ahead of the median of the clocks compared",
        [],
        [] if ahead_ms is None else [([], ahead_ms / 1000)],
    )
    yield _gauge(
        "member_info",
        "Always 1; the labels identify this member",
        ["member", "cluster_name", "zone", "version"],
        [([own.member, status.identity.cluster, own.zone or "", own.version], 1)],
    )


def _members(status: ReplicaStatus, members: tuple[MemberStatus, ...]) -> Iterable[Metric]:
    others = [member for member in status.members if not member.is_self]
    counts = {word: sum(member.status == word for member in members) for word in (ALIVE, SUSPECT, DEAD, LEFT)}
    yield _gauge(
        "members_without_series",
        "Members that have no series of their own here, because there are too many",
        [],
        [([], len(members) - len(status.members))],
    )
    unvouched = sum(member.is_unvouched for member in members)
    yield _gauge("members_not_dialled", "Members on hosts that discovery has not found", [], [([], unvouched)])
    yield _gauge("members", "Members known, this one included", ["status"], (([w], n) for w, n in counts.items()))
    yield _gauge(
        "peer_alive",
        "Whether the peer is alive; peers that have left are not listed",
        ["peer"],
        (([member.member], float(member.status == ALIVE)) for member in others if member.status != LEFT),
    )
    yield _gauge(
        "peer_rows_behind",
        "Writes covered here that the peer is not known to cover",
        ["peer", "shard"],
        (([m.member, name], shard.rows_behind) for m in others for name, shard in sorted(m.shards.items())),
    )
    yield _gauge(
        "peer_last_sync_seconds",
        "Seconds since the last completed sync with the peer",
        ["peer", "shard"],
        (
            ([member.member, name], shard.last_sync_ms / 1000)
            for member in others
            for name, shard in sorted(member.shards.items())
            if shard.last_sync_ms is not None
        ),
    )
    yield _gauge(
        "peer_clock_ahead_seconds",
        "Seconds by which the peer's clock was ahead when it was last heard",
        ["peer"],
        (([member.member], member.clock_ahead_ms / 1000) for member in others),
    )
    yield _gauge(
        "member_processes",
        "Processes that run under the member's name: 2 if a second one was noticed, otherwise 1",
        ["member"],
        (([member.member], 1 if member.sighting is None else 2) for member in status.members),
    )
    yield _gauge(
        "collection_blocked",
        "1 while deleted rows are kept because the peer is not known to have heard of their deletion, otherwise 0",
        ["peer"],
        (([member.member], float(member.member in status.collection_blocked_by)) for member in others),
    )


def _unreadable(status: ReplicaStatus) -> Iterable[Metric]:
    yield _gauge(
        "rows_unreadable",
        "Rows in quarantine, because their copy here cannot be read",
        ["shard"],
        (([name], status.unreadable_rows.get(name, 0)) for name in sorted(status.totals)),
    )


def _room(room: RoomStatus) -> Iterable[Metric]:
    is_short = room.room != AMPLE_ROOM or bool(room.crowded)
    yield _gauge(
        "short_of_room",
        "Whether puts are refused because there is no room, here or at another member",
        [],
        [([], is_short)],
    )
    yield _gauge(
        "rows_waiting_for_room", "Members with which rows wait because they did not fit", [], [([], len(room.waiting))]
    )


def _tally(status: ReplicaStatus) -> Iterable[Metric]:
    tally = status.tally
    results = ("in_sync", "delta", "walk", "failed")
    yield _counter("sync_rounds", "Sync rounds by result", ["result"], (([r], tally.rounds[r]) for r in results))
    yield _counter(
        "rows_refused",
        "Rows from peers that were not taken in",
        ["reason"],
        _by_reason(_ROW_REASONS, tally.rows_refused),
    )
    yield _counter(
        "envelopes_refused",
        "Envelopes that were not answered",
        ["reason"],
        _by_reason(_ENVELOPE_REASONS, tally.envelopes_refused),
    )
    yield _counter(
        "gossip_rows",
        "Rows in gossip frames",
        ["direction"],
        [(["in"], tally.rows_received), (["out"], tally.rows_sent)],
    )
    ends = ("direct", "indirect", "heard", "failed")
    yield _counter("probes", "Probes of members by result", ["result"], (([e], tally.probes[e]) for e in ends))
    fates = ("begun", "refuted", "dead", "false_dead")
    yield _counter("suspicions", "Suspicions by fate", ["fate"], (([f], tally.suspicions[f]) for f in fates))
    yield _counter("refutations", "Suspicions of this member that it refuted", [], [([], tally.refutations)])
    yield _counter(
        "origins_refused",
        "Ranges and claims not covered, because the context names too many replicas",
        ["shard"],
        (([name], tally.origins_refused[name]) for name in sorted(status.totals)),
    )
    yield _counter(
        "proofs_refused", "Proofs that were not believed: the data are outdated", [], [([], tally.proofs_refused)]
    )
    yield _counter(
        "forgettings_refused",
        "Rows that were not believed: a running member is forgotten",
        [],
        [([], tally.forgettings_refused)],
    )
    yield _counter("rumours_refused", "Rumours about incarnations too far ahead", [], [([], tally.rumours_refused)])
    yield _counter(
        "member_records_refused",
        "Records of members that were refused, or whose endpoint was refused",
        ["reason"],
        _by_reason(_RECORD_REASONS, tally.records_refused),
    )
    yield _counter(
        "writes_stamped_again", "Writes made while the clock was ahead, and written again", [],
        [([], tally.writes_stamped_again)],
    )  # fmt: skip
    yield _counter("wakes_late", "Times that this member noticed it had been paused", [], [([], tally.wakes_late)])
    yield _counter("reads_repaired", "Copies that a read of several members repaired", [], [([], tally.reads_repaired)])
    yield _counter(
        "conflicts",
        "Concurrent versions that gave way to a later write when rows were merged",
        ["namespace", "table"],
        (([namespace, table], number) for (namespace, table), number in sorted(tally.conflicts.items())),
    )
    yield _counter(
        "siblings_over_limit", "Merges that left a row with more siblings than a write may", [],
        [([], tally.siblings_over_limit)],
    )  # fmt: skip
    yield _counter(
        "tombstones_collected", "Deleted rows forgotten because every member has heard of them", [],
        [([], tally.tombstones_collected)],
    )  # fmt: skip
    yield _counter("puts_refused", "Operations refused because there was no room", [], [([], tally.puts_refused)])
    yield _counter(
        "anomalies",
        "States that should never occur, and are repaired",
        ["kind"],
        _by_reason(ANOMALIES, tally.anomalies),
    )


def _by_reason(known: Iterable[str], counted: Mapping[str, int]) -> Iterable[tuple[list[str], float]]:
    return (([reason], counted.get(reason, 0)) for reason in sorted({*known, *counted}))
