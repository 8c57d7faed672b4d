"""Backups: folders with everything that an installation needs to go on elsewhere; making, trying and restoring them."""
