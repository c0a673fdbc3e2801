"""Simulated machines in virtual time: their clocks, disks and processes, the network, and the trace of what happens."""
