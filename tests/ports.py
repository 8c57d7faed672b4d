"""Ports for servers that are told on which to listen, one after the other, so that no two tests get the same.

They are below those that the kernel gives to clients and to servers that leave it the choice: a port that was only
found free there, and let go again, may be somebody else's a moment later.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST, LAST = 10_240, 32_767
_WORKERS = 16
_SHARE = (LAST - FIRST) // _WORKERS
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
# Another run beside this one begins elsewhere.
_next = itertools.count(os.getpid() * 61)


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    for n in itertools.islice(_next, _SHARE):
        port = FIRST + _worker * _SHARE + n % _SHARE
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
