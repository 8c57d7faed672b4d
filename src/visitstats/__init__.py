"""visitstats: a visit counter for web portals that cannot lose or invent a number."""

__version__ = "1.0.0"
