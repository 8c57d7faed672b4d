"""The settings: what an operator may set, where a value comes from, and what is refused.

Rule 1: every setting is one field of `Settings`, which declares everything about it; nothing else reads the
environment.
Rule 2: command line > environment (`VISITSTATS_<NAME>`) > `visitstats.toml` > default.
Rule 3: a name or a value that is not understood stops the start with one line; nothing is silently ignored
        or clamped (a misspelt `VISITSTATS_REDIS_URL` would quietly count into an empty store).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec

from visitstats.core.errors import VisitstatsError
from visitstats.core.storeaddress import parse_address, shown, with_password

PREFIX = "VISITSTATS_"
CONFIG_FILE = "visitstats.toml"
LONGEST_SOCKET = 107
"""The most bytes of a unix socket's path that the kernel takes."""

# Kubernetes describes every Service of a namespace in such variables; a Service called "visitstats" (or
# "visitstats-metrics") must not look like a misspelt setting, nor its VISITSTATS_PORT=tcp://… like a port.
_KUBERNETES_NAME = re.compile(
    r"VISITSTATS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)", re.ASCII
)
_KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class InvalidSetting(VisitstatsError):
    """A setting with an unknown name or a value that is not allowed; the text names it and where it was given."""

    exit_status = 78


class _Refused(Exception):
    """A value is not allowed. The text says what it should have been; `_read` adds the name and the place."""


class Kind(NamedTuple):
    """A kind of value: a word for it, and the function that reads or refuses a value."""

    word: str
    parse: Callable[[object], Any]


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise _Refused("a folder")
    return Path(value).expanduser().absolute()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Refused("a text that is not empty")
    return value.strip()


def _redis_url(value: object) -> str:
    expected = (
        "empty (an embedded Valkey) or a URL such as redis://127.0.0.1:6379/0, rediss://…, unix:///… or "
        "redis+sentinel://host:26379,host:26379/service"
    )
    if not isinstance(value, str):
        raise _Refused(expected)
    value = value.strip()
    if value:
        try:
            parse_address(value)
        except ValueError as error:
            raise _Refused(f"{expected}; {error}") from None
    return value


def _optional_path(value: object) -> Path | None:
    if value is None or value == "":
        return None
    try:
        return _path(value)
    except _Refused:
        raise _Refused("empty or a path") from None


def _networks(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise _Refused('a list of networks such as ["127.0.0.0/8", "10.1.0.0/16"]')
    networks: list[str] = []
    for part in filter(None, (part.strip() for part in value)):
        try:
            networks.append(str(ipaddress.ip_network(part)))
        except ValueError:
            try:
                meant = f"; did you mean {ipaddress.ip_network(part, strict=False)}?"
            except ValueError:
                meant = ""
            raise _Refused(f'networks such as 10.1.0.0/16, and "{part}" is none{meant}') from None
    return tuple(dict.fromkeys(networks))


def _whole(low: int, high: int, unit: str = "") -> Kind:
    expected = f"a whole number{unit and f' of {unit}'} from {low} to {high}"

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value.strip(), re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Refused(expected)
        return value

    return Kind("number", parse)


def _one_of(*words: str) -> Kind:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value.strip().lower() not in words:
            raise _Refused(f"one of {', '.join(words)}")
        return value.strip().lower()

    return Kind("word", parse)


def _socket(value: object) -> Path | None:
    if value is None or value == "":
        return None
    try:
        path = _path(value)
    except _Refused:
        raise _Refused("empty or the path of a unix socket") from None
    if len(str(path).encode()) > LONGEST_SOCKET:
        raise _Refused(f"a path of at most {LONGEST_SOCKET} bytes")
    return path


def _header(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,60}", value.strip()):
        raise _Refused("any or the name of a header, such as X-Real-IP")
    return value.strip().lower()


_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,251}[a-z0-9])?", re.ASCII)


def _host_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise _Refused('a list of host names such as ["thongke.example.vn"]')
    found = []
    for part in filter(None, (part.strip().lower().removesuffix(".") for part in value)):
        try:
            name = str(ipaddress.ip_address(part.removeprefix("[").removesuffix("]")))
        except ValueError:
            name = part
            if not _HOST_NAME.fullmatch(name):
                expected = "host names without a port, such as thongke.example.vn"
                raise _Refused(f'{expected}, and "{part[:80]}" is none') from None
        found.append(name)
    return tuple(dict.fromkeys(found))


def _base_path(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*/?", value.strip()):
        raise _Refused("empty or a path such as /counter")
    return value.strip().rstrip("/")


_FOLDER, _PERHAPS_FOLDER = Kind("folder", _path), Kind("folder", _optional_path)
_PERHAPS_FILE = Kind("file", _optional_path)
_SOCKET, _HEADER, _BASE_PATH = Kind("socket", _socket), Kind("header", _header), Kind("path", _base_path)
_HOST_NAMES = Kind("hosts", _host_names)
_TEXT, _REDIS_URL, _NETWORKS = Kind("text", _text), Kind("text", _redis_url), Kind("networks", _networks)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, each with an allowed value. Made by `load`; frozen, so that all parts see the same values."""

    data_dir: Annotated[Path, _FOLDER, "Journal, last snapshots and the embedded Valkey's data live here."] = Path(
        "visitstats-data"
    )
    redis_url: Annotated[
        str, _REDIS_URL, "Redis 7.0+ or Valkey 7.2+; empty runs an embedded Valkey in the data folder."
    ] = ""
    redis_password_file: Annotated[
        Path | None, _PERHAPS_FILE, "A file with the password for redis_url, which then has none itself."
    ] = None
    host: Annotated[str, _TEXT, "Address to listen on."] = "127.0.0.1"
    port: Annotated[int, _whole(0, 65_535), "Port to listen on; 0 takes any free one."] = 8080
    workers: Annotated[int, _whole(1, 64), "Processes that answer on the port."] = 1
    socket: Annotated[
        Path | None, _SOCKET, "A unix socket to listen on, in place of host and port; its peer is your proxy."
    ] = None
    base_path: Annotated[
        str, _BASE_PATH, "The path under which a proxy hands requests on unchanged, such as /counter; empty for none."
    ] = ""
    admin_hosts: Annotated[
        tuple[str, ...],
        _HOST_NAMES,
        "Host names at which /admin/ answers, never those of a portal; empty: only on this machine itself.",
    ] = ()
    metrics_host: Annotated[str, _TEXT, "Address of the port for operators."] = "127.0.0.1"
    metrics_port: Annotated[
        int, _whole(0, 65_535), "A port for operators: /metrics without a token, /healthz and /readyz; 0 for none."
    ] = 0
    metrics_socket: Annotated[Path | None, _SOCKET, "The same as a unix socket."] = None
    trusted_proxies: Annotated[
        tuple[str, ...], _NETWORKS, "Peers whose X-Forwarded-For or Forwarded is believed; empty trusts nobody."
    ] = ("127.0.0.0/8", "::1/128")
    proxy_hops: Annotated[
        int,
        _whole(0, 20, "hops"),
        "How many proxies are in front, whatever their addresses; 0 goes by trusted_proxies.",
    ] = 0
    proxy_header: Annotated[
        str,
        _HEADER,
        "The header that your proxy writes, such as X-Real-IP; any takes X-Forwarded-For, or else Forwarded.",
    ] = "any"
    network_hits_per_second: Annotated[
        int,
        _whole(0, 100_000, "hits"),
        "Hits and heartbeats that one network (IPv4 /24, IPv6 /48) may send on and on, per machine; 0 is no limit.",
    ] = 200
    network_burst: Annotated[
        int,
        _whole(1, 10_000_000, "hits"),
        "Hits that one network may send at once; beyond both they are not counted (reason rate).",
    ] = 6000
    connections_per_address: Annotated[
        int,
        _whole(0, 100_000, "connections"),
        "Connections that one address (IPv6 /64) may have with a worker; trusted_proxies may have any; 0 is no limit.",
    ] = 512
    answer_timeout_ms: Annotated[
        int,
        _whole(10, 10_000, "milliseconds"),
        "How long a hit waits for Redis before it is answered 202 with the last numbers.",
    ] = 250
    durability: Annotated[
        str,
        _one_of("fsync", "os"),
        "fsync: a hit is on the disk before it is acknowledged; os: with the kernel, and a power cut may take it.",
    ] = "fsync"
    journal_max_mb: Annotated[
        int,
        _whole(1, 1_048_576, "MiB"),
        "Disk that a worker's journal may use: applied records are dropped first; full of others, hits are refused.",
    ] = 512
    # The sets that decide about a hit are kept in the store for an hour longer (`store.keys.DECIDING_MS`).
    journal_keep_hours: Annotated[
        int, _whole(1, 24, "hours"), "How long applied records are kept to heal a Redis that comes back older."
    ] = 24
    gather_ms: Annotated[
        int,
        _whole(0, 100, "milliseconds"),
        "How long a batch gathers after its first hit: what a batch costs is spread over more of them.",
    ] = 10
    batch_max_hits: Annotated[int, _whole(32, 1000, "hits"), "Hits and heartbeats committed together at most."] = 255
    queue_max_hits: Annotated[
        int,
        _whole(1, 1_000_000, "hits"),
        "Hits that may wait in a worker; beyond that they are refused with 503 and Retry-After.",
    ] = 20_000
    live_streams: Annotated[
        int,
        _whole(0, 100_000, "streams"),
        "Streams of numbers as they change (data-live) that a worker carries; beyond that 503. 0: none.",
    ] = 5000
    body_max_bytes: Annotated[int, _whole(1024, 65_536, "bytes"), "The longest beacon that is read."] = 8192
    backup_dir: Annotated[
        Path | None,
        _PERHAPS_FOLDER,
        "Where backups are made, one each night; empty: none by itself, by hand in backups/ of the data folder.",
    ] = None
    backup_hour: Annotated[
        int, _whole(0, 23), "The hour of this machine's day from which on the nightly backup is made."
    ] = 2
    backup_keep: Annotated[int, _whole(1, 10_000, "backups"), "How many backups are kept; older ones go."] = 7
    log_level: Annotated[
        str, _one_of("debug", "info", "warning", "error"), "What is logged: debug, info, warning or error."
    ] = "info"
    log_format: Annotated[
        str, _one_of("text", "json"), "How it is logged: lines for people, or one JSON object a line for programs."
    ] = "text"
    shutdown_seconds: Annotated[
        int, _whole(1, 300, "seconds"), "How long a stop may take to finish what was accepted."
    ] = 10

    @classmethod
    def load(
        cls,
        overrides: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        config: Path | None = None,
    ) -> Settings:
        """The settings of this start (rule 2); a value of None in `overrides` means "not given".

        `environ` is the whole environment (the caller hands over os.environ); left out, it is empty.
        The file is `config`, else the one that VISITSTATS_CONFIG names, else ./visitstats.toml if there is one.
        Raises `InvalidSetting` for the first thing that is not understood.
        """
        return cls.loaded(overrides, environ, config)[0]

    @classmethod
    def loaded(
        cls,
        overrides: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        config: Path | None = None,
    ) -> tuple[Settings, dict[str, str]]:
        """Load the settings as `load` does, and return with them where each value comes from, by the name of the
        setting; settings with their default are left out."""
        overrides = {name: value for name, value in (overrides or {}).items() if value is not None}
        from_environment = _from_environment(environ or {})
        named = from_environment.pop("config", "")
        path = config or (Path(named) if named else None)
        sources = (
            (overrides, lambda name: f"--{name.replace('_', '-')}"),
            (from_environment, lambda name: PREFIX + name.upper()),
            _from_file(path),
        )
        for values, place in sources:
            for name in values:
                if name not in SETTINGS:
                    raise InvalidSetting(f"{place(name)} is not a setting{_nearest(name, place)}")
        found, places = dict[str, Any](), dict[str, str]()
        for name, setting in SETTINGS.items():
            values, place = next(((v, p) for v, p in sources if name in v), ({name: setting.default}, str))
            found[name] = _read(setting, values[name], place(name))
            if any(name in given for given, _ in sources):
                places[name] = place(name)
        settings = _with_password(cls(**found))
        if settings.metrics_port and settings.metrics_port == settings.port and not settings.socket:
            raise InvalidSetting(f"metrics_port and port are both {settings.port}")
        if settings.metrics_socket and settings.metrics_socket == settings.socket:
            raise InvalidSetting(f"metrics_socket and socket are both {settings.socket}")
        if settings.queue_max_hits < settings.batch_max_hits:
            raise InvalidSetting(
                f"queue_max_hits is {settings.queue_max_hits}; "
                f"it must hold at least one batch (batch_max_hits is {settings.batch_max_hits})"
            )
        return settings, places

    def to_environ(self) -> dict[str, str]:
        """The same settings as variables for a worker process: `load(environ=…)` there gives an equal value."""
        return {setting.variable: _written(getattr(self, name)) for name, setting in SETTINGS.items()}

    @property
    def redis_url_shown(self) -> str:
        """The Redis URL for logs and messages: without its password."""
        return shown(self.redis_url)

    def __repr__(self) -> str:
        values = {**self.to_environ(), f"{PREFIX}REDIS_URL": self.redis_url_shown}
        return (
            f"Settings({', '.join(f'{name.removeprefix(PREFIX).lower()}={value!r}' for name, value in values.items())})"
        )


class Setting(NamedTuple):
    """A field of `Settings`: how its value is read, and what `docs/settings.md` says of it."""

    name: str
    kind: Kind
    help: str
    default: Any

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def shown_default(self) -> str:
        """Its default as somebody would write it."""
        return _written(self.default)


def _declared() -> Iterator[Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        kind, told = hints[field.name].__metadata__
        yield Setting(field.name, kind, told, field.default)


SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _declared()}
"""Every setting by its name, in the order of the fields."""


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The VISITSTATS_ variables by setting name, without those that Kubernetes sets for a Service of our name."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and not _KUBERNETES_NAME.fullmatch(name) and not _KUBERNETES_ADDRESS.match(value)
    }


def _from_file(path: Path | None) -> tuple[dict[str, object], Callable[[str], str]]:
    if path is None:
        path = Path(CONFIG_FILE)
        if not path.exists():
            return {}, str
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidSetting(f"the settings file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both
        raise InvalidSetting(f"the settings file {path} is not valid TOML: {error}") from error
    for name, value in values.items():
        row = SETTINGS.get(name)
        if row and isinstance(value, str) and row.kind.word in ("number", "networks"):
            # The parsers take strings because the environment has no other type; a TOML file has numbers.
            raise InvalidSetting(f'{name} in {path} is "{value}"; expected {_expected(row)}, without quotes around it')
    return values, lambda name: f"{name} in {path}"


def _read(setting: Setting, value: object, place: str) -> Any:
    try:
        return setting.kind.parse(value)
    except _Refused as refused:
        text = _written(value)
        if setting.kind is _REDIS_URL:
            text = shown(text)
        raise InvalidSetting(f'{place} is "{text}"; expected {refused}') from None


def _with_password(settings: Settings) -> Settings:
    """Put the password of `redis_password_file` into the address. The file is not read again."""
    path = settings.redis_password_file
    if path is None:
        return settings
    if not settings.redis_url:
        raise InvalidSetting("redis_password_file is set and redis_url is not: the embedded store has no password")
    try:
        password = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise InvalidSetting(f"redis_password_file {path} cannot be read: {reason}") from error
    if not password:
        raise InvalidSetting(f"redis_password_file {path} is empty")
    try:
        url = with_password(settings.redis_url, password)
    except ValueError:
        raise InvalidSetting("redis_url has a password, and redis_password_file another: give one of them") from None
    return msgspec.structs.replace(settings, redis_url=url, redis_password_file=None)


def _expected(setting: Setting) -> str:
    try:
        setting.kind.parse(None)
    except _Refused as refused:
        return str(refused)
    raise AssertionError(f"{setting.name} takes None")


def _nearest(name: str, place: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.5)
    return f"; did you mean {place(near[0])}?" if near else "; docs/settings.md lists them"


def _written(value: object) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
