"""Backups: folders that hold all that an installation needs to go on elsewhere; how they are tried and restored."""
