"""Benchmarks: `python -m benchmarks.NAME --json F`; each runs a peer and us in turn, in one process."""
