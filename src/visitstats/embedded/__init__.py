"""Our own Valkey: the program that is found or comes along, and the process that runs it in the data folder.

Knows processes and files, and nothing of what is kept in the store. The command line and the supervisor start it.
"""
