"""Whether the numbers and the machine can be trusted: `verify`, `doctor`, losses, other hosts, the journal's survey.

Reads everything and repairs nothing. The worker and the command line use it.
"""
