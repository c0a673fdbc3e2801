"""`gossipkv demo`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from gossipkv.cli.server.address import check_free
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo_lines
from gossipkv.demo.membership import membership
from gossipkv.demo.partition import partition
from gossipkv.demo.quorum import quorum
from gossipkv.demo.read_repair import read_repair
from gossipkv.demo.siblings import siblings
from gossipkv.demo.stage import DemoFailedError, Stage, open_stage
from gossipkv.demo.wire import relay_host
from gossipkv.dev.plan import GOSSIP_PORT_OFFSET, HOST

_NODES = 3
_DEMOS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "quorum": quorum,
    "siblings": siblings,
    "read-repair": read_repair,
    "membership": membership,
    "partition": partition,
}


@click.command("demo")
@click.argument("name", type=click.Choice(list(_DEMOS)))
@click.option(
    "--http-port",
    type=click.IntRange(1, 60_000),
    default=7180,
    show_default=True,
    help="HTTP port of the first member; the others follow.",
)
@click.pass_obj
def demo_command(environment: dict[str, str], name: str, http_port: int) -> None:
    """Run a demonstration with three real processes, which end with it.

    quorum: writes that need two members, while one and then two members are down. siblings: two clients fill one cart
    on two sides of a split network. read-repair: a read finds a member that is behind, and repairs it. membership: a
    member is killed, detected as dead, and comes back. partition: the network splits, and heals.
    """
    for index in range(_NODES):
        gossip_port = http_port + GOSSIP_PORT_OFFSET + index
        for host, port in ((HOST, http_port + index), (HOST, gossip_port), (relay_host(index), gossip_port)):
            check_free(host, port, "stop what uses it, or choose other ports with --http-port")
    try:
        asyncio.run(_play(_DEMOS[name], http_port, environment))
    except DemoFailedError as error:
        raise Failure(f"the demonstration does not work here: {error}", ExitCode.ERROR) from error


async def _play(demo: Callable[[Stage], Awaitable[None]], http_port: int, environment: dict[str, str]) -> None:
    async with open_stage(_NODES, http_port, environment, echo_lines) as stage:
        await demo(stage)
