"""The pure core: rules of counting, keys and payloads.

No I/O, clock, randomness or environment in here; the standard library and msgspec only.
"""
