"""Builds a node from settings: the node that `gossipkv serve` runs, or that another program embeds."""

from __future__ import annotations

import importlib.metadata
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from gossipkv.api.options import ApiOptions
from gossipkv.codec import Limits
from gossipkv.config.settings import Settings, SettingsError
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.member import GOSSIP
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.store.fence import Fence
from gossipkv.core.store.storage import StorageError
from gossipkv.discovery.base import Discovery
from gossipkv.intake.limits import PortLimits
from gossipkv.member.feed import FeedOptions
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode, NodeOptions, wall_clock_ms
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.storage.account import Account
from gossipkv.storage.lmdb import LmdbStorage
from gossipkv.storage.set_aside import all_set_aside, set_aside
from gossipkv.storage.unshared_rows import ROWS_FILE, write_unshared_rows
from gossipkv.transport.http import GOSSIP_LIMITS, HttpTransport

# Each step of a graceful stop takes at most its share of `stop_timeout_s`. Together they must end before that.
DRAIN_SHARE = 0.25
LEAVE_SHARE = 0.25
SHUTDOWN_SHARE = 0.1
"""This share is taken twice for a body that is still arriving: until it is cut off, and for the handler to end."""
STORAGE_SHARE = 0.2

log = structlog.get_logger("gossipkv")


def member_of(settings: Settings) -> str:
    """Return the member's name: the setting, or the host name if it is empty."""
    return settings.member or socket.gethostname()


def composed(settings: Settings, endpoints: Mapping[str, str], discovery: Discovery, metrics: Metrics) -> MemberNode:
    """Build a node and open its data; the node is not started. `endpoints` are its addresses for others, by protocol.
    Raises SettingsError, StorageError."""
    try:
        options = ReplicaOptions(
            cluster=settings.cluster,
            member=member_of(settings),
            endpoints=dict(endpoints),
            zone=settings.zone or None,
            version=importlib.metadata.version("gossipkv"),
            gossip_interval_ms=settings.gossip_interval_ms,
            audit_interval_ms=settings.audit_interval_ms,
            bootstrap_timeout_ms=settings.bootstrap_timeout_ms,
            forget_silence_ms=settings.forget_silence_ms,
            retry_ms_max=settings.retry_ms_max,
            protocol_period_ms=settings.protocol_period_ms,
            probe_timeout_ms=settings.probe_timeout_ms,
            indirect_probes=settings.indirect_probes,
            suspicion_multiplier=settings.suspicion_multiplier,
            clock_skew_ms_max=settings.clock_skew_ms_max,
            tombstone_age_ms_min=settings.tombstone_age_ms_min,
            message_life_ms=settings.message_life_ms,
            members_max=settings.members_max,
            context_origins_max=settings.context_origins_max,
            dialled_hosts=settings.dialled_hosts,
            fanout=settings.fanout,
            siblings_max=settings.siblings_max,
            value_bytes_max=settings.value_bytes_max,
        )
    except InvalidInputError as error:
        raise SettingsError(str(error)) from error
    storage = LmdbStorage(Path(settings.data_dir), settings.storage_bytes_max)
    metrics.peers_max = settings.metrics_peers_max
    metrics.set_aside.set(len(all_set_aside(Path(settings.data_dir))))
    transport = HttpTransport(
        settings.gossip_host,
        settings.gossip_port,
        advertise=endpoints[GOSSIP],
        frame_bytes_max=Limits().frame_bytes_max,
        exchange_timeout_s=settings.exchange_timeout_s,
        connect_timeout_s=settings.connect_timeout_s,
        limits=replace(
            GOSSIP_LIMITS,
            connections_max=settings.gossip_connections_max,
            connections_per_address_max=settings.gossip_connections_per_address_max,
            head_timeout_seconds=settings.head_timeout_s,
            bodies_bytes_max=settings.gossip_bodies_bytes_max,
            answers_bytes_max=settings.gossip_answers_bytes_max,
        ),
        requests_max=settings.gossip_requests_max,
    )
    metrics.account_for(*transport.accounts)
    node_options = NodeOptions(
        inbox_operations_max=settings.inbox_operations_max,
        inbox_bytes_max=settings.inbox_bytes_max,
        inbox_frames_bytes_max=settings.inbox_frames_bytes_max,
        write_wait_seconds=settings.write_wait_s,
        read_wait_seconds=settings.read_wait_s,
        leave_timeout_seconds=settings.stop_timeout_s * LEAVE_SHARE,
        storage_stop_seconds=settings.stop_timeout_s * STORAGE_SHARE,
        feed=FeedOptions(
            settings.watch_heartbeat_s,
            settings.watch_buffer_bytes_max,
            settings.watch_resume_timeout_s,
            settings.watch_buffers_bytes_max,
        ),
    )
    return MemberNode(options, storage, transport, discovery, metrics, node_options)


def set_outdated_data_aside(settings: Settings, replica: ReplicaId, fence: Fence | None) -> None:
    """Set the data of a stopped, fenced node aside, so that the next node starts without data. Also list the rows that
    no other member is known to have. Raises StorageError."""
    now_ms = wall_clock_ms()
    account = Account.of(replica, fence, now_ms)
    path = set_aside(Path(settings.data_dir), account).resolve()
    try:
        unshared = write_unshared_rows(path, account)
    except (StorageError, OSError) as error:
        # The data are safe, and `gossipkv set-aside list` can make the list from them at any time.
        log.error("unshared_rows_not_listed", path=str(path), reason=str(error), remedy="gossipkv set-aside list")
        unshared = None
    log.error(
        "data_set_aside",
        reason=account.reason,
        consequence="this member starts again as a new replica, without them",
        replica=f"{replica:016x}",
        path=str(path),
        rows_only_here=None if unshared is None else unshared.rows,
        first_rows=[] if unshared is None else unshared.first,
        rows_file=str(path / ROWS_FILE),
        remedy=f"to put back what no other member is known to have: gossipkv set-aside merge {path} --server URL; to "
        f"look at all of it: gossipkv export TABLE --data-dir {path}; then remove that directory",
    )


def api_options(settings: Settings) -> ApiOptions:
    """Return the options of the HTTP API that the settings ask for."""
    return ApiOptions(
        value_bytes_max=settings.value_bytes_max,
        page_rows_max=settings.page_rows_max,
        page_bytes_max=settings.page_bytes_max,
        body_timeout_seconds=settings.body_timeout_s,
        port=PortLimits(
            connections_max=settings.http_connections_max,
            connections_per_address_max=settings.http_connections_per_address_max,
            head_timeout_seconds=settings.head_timeout_s,
            answer_timeout_seconds=settings.answer_timeout_s,
            bodies_bytes_max=settings.http_bodies_bytes_max,
            answers_bytes_max=settings.http_answers_bytes_max,
        ),
        shutdown_timeout_seconds=settings.stop_timeout_s * SHUTDOWN_SHARE,
    )
