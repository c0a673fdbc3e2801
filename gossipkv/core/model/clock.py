"""Hybrid logical clock.

A timestamp is one 64-bit integer: 48 bits of milliseconds since the Unix epoch, then 16 bits of counter. Timestamps of
one clock strictly increase; they stay close to real time as long as the clocks of the members do. A full counter
carries into the milliseconds, which plain integer addition does by itself.

Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks and Consistent Snapshots in Globally
Distributed Databases", 2014.
"""

COUNTER_BITS = 16
TIMESTAMP_MAX = 2**64 - 1


def timestamp_at(now_ms: int) -> int:
    """Return the first timestamp of a millisecond."""
    return now_ms << COUNTER_BITS


def milliseconds(timestamp: int) -> int:
    """Return the millisecond that a timestamp falls into."""
    return timestamp >> COUNTER_BITS


class HybridClock:
    """The clock that stamps local writes.

    It does not survive a restart, and does not have to. The order of writes to one row is kept by the timestamp in the
    row: `next` never stays below it.
    """

    __slots__ = ("_latest", "_skew_ms_max")

    def __init__(self, skew_ms_max: int) -> None:
        self._latest = 0
        self._skew_ms_max = skew_ms_max

    def next(self, now_ms: int, above: int = 0) -> int:
        """Return a new timestamp, greater than any given out before, and greater than `above`.

        If the clock ran ahead and was then set right by more than the allowed skew, timestamps follow it back.
        Otherwise they would stay in the future for as long as the clock had been wrong, and every other member would
        refuse the rows.
        """
        now = timestamp_at(now_ms)
        if milliseconds(self._latest) > now_ms + self._skew_ms_max:
            self._latest = 0
        self._latest = max(self._latest + 1, now, above + 1)
        return self._latest

    def observe(self, timestamp: int) -> None:
        """Advance past the timestamp of a row that was taken in, so that later local writes sort after it.

        The caller has checked the row against the allowed skew, so a refused row never drags the clock.
        """
        if timestamp > self._latest:
            self._latest = timestamp
