"""Deterministic simulation: the real core and codec under virtual time, faults and checkers, from one seed."""

from gossipkv.simulation.outcome import Outcome, Violation
from gossipkv.simulation.simulation import run_seed

__all__ = ["Outcome", "Violation", "run_seed"]
