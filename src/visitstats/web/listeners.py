"""Opens the listening sockets: a port or a unix socket, and another one for operators that serves only metrics and
health; or takes the sockets that systemd has opened.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from visitstats.core.errors import VisitstatsError
from visitstats.settings import Settings

BACKLOG = 2048
FIRST_FILE = 3
"""The first descriptor that systemd hands over (sd_listen_fds(3))."""
PRIVATE_NAME = "metrics"
"""FileDescriptorName= of the socket for operators."""


class CannotListen(VisitstatsError):
    """A port or a socket cannot be opened."""


class Listeners(NamedTuple):
    """The listening sockets, and the settings with the addresses that they have."""

    sockets: list[socket.socket]
    settings: Settings
    shown: str
    """Where readers' requests are taken."""


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[Listeners]:
    """Listen for as long as the block takes. Raises CannotListen."""
    opened, made = list[socket.socket](), list[Path]()
    try:
        handed_over = _handed_over()
        if handed_over is not None:
            main, private = handed_over
        else:
            main = [_open(settings.socket, settings.host, settings.port)]
            opened += main
            made += [settings.socket] if settings.socket else []
            private = []
            if settings.metrics_socket or settings.metrics_port:
                private = [_open(settings.metrics_socket, settings.metrics_host, settings.metrics_port)]
                made += [settings.metrics_socket] if settings.metrics_socket else []
        opened = [*main, *private]
        for each in private:
            name = each.getsockname()
            settings = (
                msgspec.structs.replace(settings, metrics_socket=Path(name))
                if isinstance(name, str)
                else msgspec.structs.replace(settings, metrics_port=name[1])
            )
        yield Listeners(opened, settings, _shown(main[0]))
    finally:
        for each in opened:
            each.close()
        for path in made:
            path.unlink(missing_ok=True)


def _open(path: Path | None, host: str, port: int) -> socket.socket:
    return _tcp(host, port) if path is None else _unix(path)


def _tcp(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return _listen(found)


def _unix(path: Path) -> socket.socket:
    """Listen on a unix socket that the service's group may use. One that is left over from a service that was killed is
    replaced."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            if _answers(path):
                raise CannotListen(f"cannot listen on {path}: another program does")
            path.unlink()
        found.bind(str(path))
        path.chmod(0o660)
    except BaseException as error:
        found.close()
        if isinstance(error, OSError):
            raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from error
        raise
    return _listen(found)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        return asking.connect_ex(str(path)) == 0


def _listen(found: socket.socket) -> socket.socket:
    # A client that comes before the first worker is ready waits for it, and is not refused.
    found.listen(BACKLOG)
    found.set_inheritable(True)
    return found


def _activated() -> bool:
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"


def _handed_over() -> tuple[list[socket.socket], list[socket.socket]] | None:
    """Take the sockets that systemd has opened; None when there are none. Raises CannotListen."""
    if not _activated():
        return None
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    main, private = list[socket.socket](), list[socket.socket]()
    for number in range(int(os.environ["LISTEN_FDS"])):
        found = socket.socket(fileno=FIRST_FILE + number)
        if found.type != socket.SOCK_STREAM:
            raise CannotListen(f"socket {number + 1} from systemd is no stream (ListenStream=)")
        found.set_inheritable(True)
        (private if names[number : number + 1] == [PRIVATE_NAME] else main).append(found)
    if not main:
        raise CannotListen(f"systemd has opened no socket but that of the name {PRIVATE_NAME}")
    return main, private


def _shown(found: socket.socket) -> str:
    name = found.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}"
