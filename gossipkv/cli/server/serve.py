"""`gossipkv serve`: runs one member until it is told to stop.

SIGTERM and SIGINT stop it gracefully; the second one ends it at once. So does a graceful stop that takes too long:
what is acknowledged is on disk by then, and goes out to others after the next start.

If the cluster was told to forget the member's data, the member stops without sending anything, sets the data aside, and
starts again in this process as a new replica. It may be killed at any time: the next start finds the data where they
were, or set aside.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys

import click
import structlog
import uvloop

from gossipkv.api.routes import build_api
from gossipkv.api.server import Server, serve
from gossipkv.cli.options.setting_options import loaded, setting_options
from gossipkv.cli.server.address import address_failure, check_free
from gossipkv.cli.server.discovery import chosen_discovery
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.config import logs
from gossipkv.config.settings import Settings, flag_of, variable_of
from gossipkv.core.model.member import GOSSIP, HTTP
from gossipkv.core.store.storage import StorageError
from gossipkv.embedding.composition import DRAIN_SHARE, api_options, composed, member_of, set_outdated_data_aside
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode, first_of

_WILDCARDS = ("0.0.0.0", "::", "")

GARBAGE_THRESHOLD = 50_000
SWITCH_SECONDS = 0.001

log = structlog.get_logger("gossipkv")


@click.command("serve")
@click.option(
    "--stop-with-stdin",
    is_flag=True,
    help="Also stop when standard input is closed, so that this process does not outlive the one that started it.",
)
@setting_options
@click.pass_obj
def serve_command(
    environment: dict[str, str], /, stop_with_stdin: bool, config: str | None, **flags: str | None
) -> None:
    """Run one member until SIGTERM or Ctrl-C. docs/settings.md describes each setting."""
    settings, _ = loaded(flags, environment, config)
    # Whatever this process writes is for its user alone.
    os.umask(0o077)
    logs.configure(settings.log_format, settings.log_level)
    # Imported modules are never freed, and requests allocate no cycles. So the garbage collector can run less often,
    # which noticeably raises the throughput of batches.
    # The event loop waits this long for the storage thread to give way, at each read from a socket.
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
    uvloop.run(_serve(settings, stop_with_stdin=stop_with_stdin))


async def _serve(settings: Settings, *, stop_with_stdin: bool) -> None:
    endpoints = _endpoints(settings)
    # A member whose API cannot be served must not join the others first.
    check_free(settings.http_host, settings.http_port, _remedy("http_port"))
    stopping = asyncio.Event()
    while not stopping.is_set():
        node = await _started(settings, endpoints, metrics := Metrics())
        _listen_for_stop_requests(stopping, stop_with_stdin)
        server = await _api(settings, node, metrics)
        log.info(
            "serving",
            member=node.identity.member,
            cluster=node.identity.cluster,
            replica=f"{node.identity.replica:016x}",
            data_dir=settings.data_dir,
            **endpoints,
        )
        await first_of(stopping, node.fenced)
        limit = asyncio.get_running_loop().call_later(settings.stop_timeout_s, _end_at_once)
        if node.fenced.is_set():
            await _make_way(settings, node, server)
            limit.cancel()
        else:
            log.info("stopping", consequence="what others lack goes to them now; a second signal ends at once")
            node.end_watches()
            await server.drain(min(settings.drain_s, settings.stop_timeout_s * DRAIN_SHARE))
            # Waiting clients are answered before the server stops, and the storage is closed once nothing reads it.
            await node.leave()
            await server.stop()
            await _stop(settings, node)
            limit.cancel()


async def _started(settings: Settings, endpoints: dict[str, str], metrics: Metrics) -> MemberNode:
    node = _composed(settings, endpoints, metrics)
    try:
        await node.start()
    except StorageError as error:
        raise _storage_failure(settings, error) from error
    except OSError as error:
        raise address_failure(settings.gossip_host, settings.gossip_port, _remedy("gossip_port"), error) from error
    return node


async def _stop(settings: Settings, node: MemberNode) -> None:
    if not await node.stop():
        raise Failure(
            f"the storage in {settings.data_dir} is stuck, so this process ends without closing it; what was "
            "acknowledged is on disk",
            ExitCode.ERROR,
        )


async def _make_way(settings: Settings, node: MemberNode, server: Server) -> None:
    """Stop a member whose data are outdated, and set them aside."""
    replica = node.identity.replica
    # Nothing is drained: a fenced member sends nothing, and its clients go to another member.
    await server.stop()
    await _stop(settings, node)
    try:
        set_outdated_data_aside(settings, replica, node.fence)
    except StorageError as error:
        raise _storage_failure(settings, error) from error


def _composed(settings: Settings, endpoints: dict[str, str], metrics: Metrics) -> MemberNode:
    discovery = chosen_discovery(settings, member_of(settings))
    try:
        return composed(settings, endpoints, discovery, metrics)
    except StorageError as error:
        raise _storage_failure(settings, error) from error


async def _api(settings: Settings, node: MemberNode, metrics: Metrics) -> Server:
    options = api_options(settings)
    try:
        return await serve(build_api(node, metrics, options), settings.http_host, settings.http_port, options)
    except OSError as error:
        await node.stop()
        raise address_failure(settings.http_host, settings.http_port, _remedy("http_port"), error) from error


# Addresses


def _endpoints(settings: Settings) -> dict[str, str]:
    """The endpoints of this member, by protocol."""
    advertised = _advertised_host(settings)
    host = f"[{advertised}]" if ":" in advertised else advertised
    return {GOSSIP: f"http://{host}:{settings.gossip_port}", HTTP: f"http://{host}:{settings.http_port}"}


def _advertised_host(settings: Settings) -> str:
    """The advertised host: the setting, otherwise the address that gossip is served on, otherwise that of the host
    name."""
    if settings.advertise_host:
        return settings.advertise_host
    if settings.gossip_host not in _WILDCARDS:
        return settings.gossip_host
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise Failure(
            f"others cannot be told where to reach this member, as its host name has no address ({error}): set "
            f"{flag_of('advertise_host')} or {variable_of('advertise_host')}",
            ExitCode.USAGE,
        ) from error


def _remedy(setting: str) -> str:
    return f"choose another with {flag_of(setting)} or {variable_of(setting)}, or stop what uses it"


def _storage_failure(settings: Settings, error: StorageError) -> Failure:
    return Failure(f"{error} ({flag_of('data_dir')} {settings.data_dir})", ExitCode.DATA_DIRECTORY)


# The end


def _listen_for_stop_requests(stopping: asyncio.Event, stop_with_stdin: bool) -> None:
    """Set the event when this process is asked to stop. Calling this again changes nothing."""
    loop = asyncio.get_running_loop()

    def requested() -> None:
        if stopping.is_set():
            _end_at_once()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, requested)
    if stop_with_stdin:

        def readable() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                stopping.set()

        loop.add_reader(sys.stdin.fileno(), readable)


def _end_at_once() -> None:
    """Exit without clean-up. This is safe at any time: everything acknowledged is on disk."""
    os._exit(ExitCode.ERROR)
