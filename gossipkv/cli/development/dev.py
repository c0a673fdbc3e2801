"""`gossipkv dev`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from gossipkv.cli.server.address import check_free
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo
from gossipkv.dev import display, plan
from gossipkv.dev.display import Show
from gossipkv.dev.plan import GOSSIP_PORT_OFFSET, HOST, NODES_MAX, PlannedMember
from gossipkv.dev.supervisor import Supervisor

_PORT_MAX = 65_535


@click.command("dev")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=3, show_default=True, help="Number of members.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".gossipkv/dev"),
    show_default=True,
    help="Data, settings and logs of the members, kept from run to run.",
)
@click.option(
    "--http-port",
    type=click.IntRange(1, _PORT_MAX - GOSSIP_PORT_OFFSET - NODES_MAX),
    default=7080,
    show_default=True,
    help=f"HTTP port of the first member; the others follow. Gossip ports are {GOSSIP_PORT_OFFSET} higher.",
)
@click.option("--restart", is_flag=True, help="Start a member again when it ends.")
@click.pass_obj
def dev_command(environment: dict[str, str], nodes: int, data_dir: Path, http_port: int, restart: bool) -> None:
    """Run a local cluster of real processes until Ctrl-C. The first Ctrl-C stops it gracefully, a second one kills it.

    You can kill members at any time. Their data stay, and the command prints how to start them again.
    """
    members = plan.plan(nodes, data_dir, http_port)
    for member in members:
        for port in (member.http_port, member.gossip_port):
            check_free(HOST, port, f"{member.name} needs it: stop what uses it, or choose other ports with --http-port")
    try:
        plan.write(members)
    except OSError as error:
        raise Failure(f"{data_dir} cannot be used: {error.strerror}; choose another with --data-dir") from error
    _print_plan(members, data_dir)
    if sys.stdout.isatty():
        with display.live_table() as show:
            asyncio.run(_run(members, environment, show, restart))
    else:
        asyncio.run(_run(members, environment, display.lines(echo), restart))
    echo(f"stopped; the data stay in {data_dir}")


async def _run(members: list[PlannedMember], environment: dict[str, str], show: Show, restart: bool) -> None:
    await Supervisor(members, environment, show, restarts=restart).run()


def _print_plan(members: list[PlannedMember], data_dir: Path) -> None:
    first, last = members[0], members[-1]
    row = "v1/usr/tables/colours/rows/sky"
    echo(f"HTTP on {HOST}, ports {first.http_port} to {last.http_port}")
    echo(f"gossip on {HOST}, ports {first.gossip_port} to {last.gossip_port}")
    echo(f"data in {data_dir}, logs in {first.log.parent}")
    echo(f"try: curl -X PUT --data-binary blue {first.url}/{row}; curl {last.url}/{row}")
    echo("Ctrl-C stops all")
