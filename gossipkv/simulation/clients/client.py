"""A client that writes and reads at random members, whatever state they are in.

In the table that keeps siblings, the client writes at one member with what it has read at another. The other member may
be ahead, or have lost its disk since. A member that has not seen what the client has read refuses the write.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from gossipkv.core.inputs import Answer, Write
from gossipkv.core.model.address import SYSTEM, USER, address_of, key_of, table_of
from gossipkv.core.model.row import Conflicts, Seen
from gossipkv.core.model.write import Declined, NotMatched, Operation, StoredWrite
from gossipkv.core.store.tables import TableSettings, settings_address, settings_in
from gossipkv.simulation.scenarios.scenario import BESIDE, Scenario
from gossipkv.simulation.world.host import Host

TTL_MS_MAX = 1_500


class SimulatedClient:
    """A client. Its values are unique, so each value identifies the operation that wrote it. `told` gets each
    outcome."""

    def __init__(
        self,
        rng: random.Random,
        scenario: Scenario,
        told: Callable[[Host, str, list[Operation], Answer | Exception], None],
    ) -> None:
        self._rng = rng
        self._scenario = scenario
        self._told = told
        self._operations = 0
        self._etags: dict[bytes, str] = {}
        self._seen: dict[bytes, Seen] = {}

    def prefill(self, host: Host) -> list[Operation]:
        """Write one batch of rows, so that the store is not empty. Returns the operations on users' rows."""
        settings = Operation(settings_address(BESIDE), TableSettings(Conflicts.SIBLINGS).to_json())
        assert host.process is not None
        host.process.submit(Write(SYSTEM, (settings,)))
        operations = [
            Operation(address_of("table0", f"old{row}".encode()), self._value())
            for row in range(self._scenario.prefilled_rows)
        ]
        if operations:
            self._submit(host, operations)
        return operations

    def write(self, host: Host) -> list[Operation]:
        """Write 1, 2 or 5 random rows in one batch. Returns the operations."""
        assert host.process is not None
        # A member that has met others, but none that knew the setting, treats the table as last-write-wins. A member
        # that has met no other is aware that it does not know the setting.
        knows = settings_in(host.disk.committed_row(SYSTEM, settings_address(BESIDE))) is not None
        beside = knows or not host.process.replica.knows_settings
        operations = [self._operation(beside=beside) for _ in range(self._rng.choice((1, 1, 1, 2, 5)))]
        self._submit(host, operations)
        return operations

    def read(self, host: Host) -> bytes:
        """Read a random row. Returns its address. Later operations use what was read."""
        address = self._address()
        row = host.disk.committed_row(USER, address)
        if row is not None and table_of(address) == BESIDE:
            self._seen[address] = row.seen
        if row is not None and row.is_visible_at(host.now_ms()):
            self._etags[address] = row.etag
        return address

    def _submit(self, host: Host, operations: list[Operation]) -> None:
        assert host.process is not None
        host.process.submit(Write(USER, tuple(operations)), lambda outcome: self._told(host, USER, operations, outcome))

    def _operation(self, *, beside: bool) -> Operation:
        """Draw an operation. Without `beside`, no operation goes to the table that keeps siblings."""
        address = self._address()
        if table_of(address) == BESIDE:
            if not beside:
                return Operation(address_of("table0", key_of(address)), self._value())
            seen = self._seen.get(address) if self._rng.random() < 0.6 else None
            is_delete = self._rng.random() < (0.25 if seen is not None else 0.05)
            return Operation(address, None if is_delete else self._value(), seen=seen)
        value = None if self._rng.random() < 0.25 else self._value()
        kind = self._rng.random()
        if kind < 0.1:
            return Operation(address, value, if_absent=value is not None)
        if kind < 0.2:
            return Operation(address, value, if_match=(self._etags.get(address, "*"),))
        ttl_ms = self._rng.randint(1, TTL_MS_MAX) if kind < 0.3 and value is not None else None
        return Operation(address, value, ttl_ms=ttl_ms)

    def _address(self) -> bytes:
        if self._rng.random() < 0.2:
            return address_of(BESIDE, f"key{self._rng.randrange(self._scenario.keys)}".encode())
        table = self._rng.randrange(self._scenario.tables)
        if self._scenario.prefilled_rows and self._rng.random() < 0.3:
            return address_of("table0", f"old{self._rng.randrange(self._scenario.prefilled_rows)}".encode())
        return address_of(f"table{table}", f"key{self._rng.randrange(self._scenario.keys)}".encode())

    def _value(self) -> bytes:
        self._operations += 1
        return b"%d " % self._operations + bytes(self._rng.randint(0, self._scenario.value_bytes_max))


def kinds_of(operations: list[Operation], outcome: Answer | Exception) -> list[str]:
    """Return the kind under which to count the outcome of each operation."""
    if isinstance(outcome, Exception):
        return ["client_errors"] * len(operations)
    assert isinstance(outcome, list)
    kinds = []
    for operation, result in zip(operations, outcome, strict=True):
        if isinstance(result, NotMatched):
            kinds.append("client_not_matched")
        elif isinstance(result, Declined):
            kinds.append(f"client_{result.reason}")
        else:
            assert isinstance(result, StoredWrite)
            kinds.append("client_deletes" if operation.value is None else "client_puts")
    return kinds


def describe(operations: list[Operation], outcome: Answer | Exception) -> Iterator[str]:
    """Iterate over what the client was told, one line per operation, for the trace."""
    if isinstance(outcome, Exception):
        yield f"{len(operations)} operations failed, {outcome}"
        return
    assert isinstance(outcome, list)
    for operation, result in zip(operations, outcome, strict=True):
        verb = "delete" if operation.value is None else "put"
        row = operation.address.decode().replace("\0", "/")
        if isinstance(result, StoredWrite):
            yield f"{verb} {row} is {result.dot}"
        elif isinstance(result, Declined):
            yield f"{verb} {row} is declined: {result.reason}"
        else:
            yield f"{verb} {row} does not match"
