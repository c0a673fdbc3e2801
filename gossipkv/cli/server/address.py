"""Addresses to listen on, looked at before anything is started."""

from __future__ import annotations

import errno
import socket

from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure


def address_failure(host: str, port: int, remedy: str, error: OSError) -> Failure:
    reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror or error}"
    return Failure(f"{host}:{port} {reason}; {remedy}", ExitCode.ADDRESS_IN_USE)


def check_free(host: str, port: int, remedy: str) -> None:
    """Raises Failure, which ends in the remedy, where one cannot listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            # As servers do: connections of an earlier process that linger are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise address_failure(host, port, remedy, error) from error
