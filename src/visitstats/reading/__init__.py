"""What is shown: the snapshots of the box, lists of articles, unique visitors.

Reads the store and never writes a count. The write side publishes into it; routes and commands show what it gives.
"""
