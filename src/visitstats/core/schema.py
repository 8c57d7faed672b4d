"""The schema number: the form of what is written to the store and to the data folder."""

SCHEMA_NUMBER = 2
"""A store or a folder that bears another number is refused in one line; nothing is guessed."""
