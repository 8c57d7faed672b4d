"""Our own Valkey: the server program, bundled or found on this machine, and the process that runs it in the data
folder.

Knows processes and files, and nothing of the store's content. The command line and the supervisor start it.
"""
