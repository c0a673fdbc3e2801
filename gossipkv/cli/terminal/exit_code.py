"""Exit codes, the same for every command."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONDITION_FAILED = 4
    UNAVAILABLE = 5
    NOT_CONVERGED = 6
    ADDRESS_IN_USE = 7
    DATA_DIRECTORY = 8
    SIBLINGS = 9
    CONFLICTS = 10
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.ERROR: "failed, or some lines of an import were rejected",
    ExitCode.USAGE: "wrong arguments or settings",
    ExitCode.NOT_FOUND: "there is no such row or table",
    ExitCode.CONDITION_FAILED: "--if-match or --if-absent does not hold; nothing was changed",
    ExitCode.UNAVAILABLE: "no server answers or takes requests, or the answer to a write that may be stored was lost",
    ExitCode.NOT_CONVERGED: "status: members differ or are in trouble; put, delete, receipt: too few have the write",
    ExitCode.ADDRESS_IN_USE: "serve, dev: an address or port is in use or not available",
    ExitCode.DATA_DIRECTORY: "serve, export: the data directory is in use, damaged, or of another member or version",
    ExitCode.SIBLINGS: "get: the row has several values at once; standard output holds them as JSON",
    ExitCode.CONFLICTS: "set-aside merge: some rows differ in the cluster; nothing was replaced or deleted",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.TERMINATED: "ended by SIGTERM; once it has started, serve stops gracefully and ends with 0",
}
