"""Wrappers of the machine: the clock, files that are written whole, descriptors, networks, memory shared by processes,
the log, patterns without backtracking.

It knows nothing of hits. Everything but the core may import it; it imports the core alone.
"""
