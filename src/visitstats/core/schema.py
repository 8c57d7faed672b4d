"""The schema number: the form of what is written to the store and to the data folder.

2: dated counts in one hash of visits and one of views, days of articles unpacked.
3: counts by hour, month and year (`store.keys`), numbers of articles, packed months. The journal is that of 2.
"""

SCHEMA_NUMBER = 3
"""A store or a folder with a higher number is refused in one line; nothing is guessed."""
OLDEST_SCHEMA = 2
"""A store from this number on is brought forward when the service starts (`store.upgrade`)."""
