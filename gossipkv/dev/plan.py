"""The members of a local cluster, with their ports and files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gossipkv.config.settings import Value, to_toml

HOST = "127.0.0.1"
CLUSTER = "gossipkv-dev"
GOSSIP_PORT_OFFSET = 100
"""The distance of a member's gossip port from its HTTP port. HTTP ports are consecutive."""
NODES_MAX = 50


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """A member of a local cluster, with its ports and files."""

    name: str
    http_port: int
    gossip_port: int
    data_dir: Path
    config: Path
    log: Path

    @property
    def url(self) -> str:
        """The URL of the member's HTTP API."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def start_command(self) -> str:
        """The command that starts the member by hand."""
        return f"gossipkv serve --config {shlex.quote(str(self.config))}"


def plan(nodes: int, data_dir: Path, http_port: int) -> list[PlannedMember]:
    """Return the members, named `gossipkv-0` and so on, with consecutive HTTP ports. Their data are kept between
    runs."""
    assert 1 <= nodes <= NODES_MAX < GOSSIP_PORT_OFFSET
    return [
        PlannedMember(
            name=f"gossipkv-{index}",
            http_port=http_port + index,
            gossip_port=http_port + GOSSIP_PORT_OFFSET + index,
            data_dir=data_dir / f"gossipkv-{index}",
            config=data_dir / f"gossipkv-{index}.toml",
            log=data_dir / "logs" / f"gossipkv-{index}.log",
        )
        for index in range(nodes)
    ]


def write(members: list[PlannedMember], advertised: Mapping[str, str] | None = None) -> None:
    """Create the directories, and write a settings file per member. `advertised` gives the host at which others reach a
    member, by name, if it differs from the host that the member serves on. Raises OSError."""
    for member, content in _settings_files(members, advertised or {}):
        for directory in (member.data_dir, member.log.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        member.config.write_text(content)


def _settings_files(members: list[PlannedMember], advertised: Mapping[str, str]) -> Iterator[tuple[PlannedMember, str]]:
    peers = ",".join(f"http://{advertised.get(member.name, HOST)}:{member.gossip_port}" for member in members)
    for member in members:
        values: dict[str, Value] = {
            "member": member.name,
            "cluster": CLUSTER,
            "data_dir": str(member.data_dir.absolute()),
            "http_host": HOST,
            "http_port": member.http_port,
            "gossip_host": HOST,
            "gossip_port": member.gossip_port,
            "advertise_host": advertised.get(member.name, HOST),
            "peers": peers,
            "retry_ms_max": 2_000,
            "log_format": "console",
            # A cluster that is stopped at the keyboard has no clients to drain.
            "drain_s": 0.0,
        }
        yield member, "# Written by `gossipkv dev` at each start.\n" + to_toml(values)
