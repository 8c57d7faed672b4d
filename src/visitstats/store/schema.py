"""The schema number: which form of the store and of the data folder a program can read. Another one is refused in one
line; nothing is guessed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from visitstats.core.errors import StoreUnfit, VisitstatsError
from visitstats.files import write_file
from visitstats.journal.segments import MAGIC
from visitstats.store import keys
from visitstats.store.client import IN_CLUSTER, foreign, translated

FILE = "schema"


class FolderUnfit(VisitstatsError):
    """A data folder that was written by another version."""


async def claim_store(client: Redis) -> None:
    """Refuse (StoreUnfit) a store of another schema; write the number into one that is new. Raises StoreUnavailable."""
    if not await check_schema(client):
        with translated():
            await client.set(keys.SCHEMA, keys.SCHEMA_NUMBER, nx=True)
        await check_schema(client)


async def check_schema(client: Redis) -> bool:
    """Refuse (StoreUnfit) a store of another schema and a node of a cluster, and say whether it bears our number; a new
    one bears none. Nothing is written. Raises StoreUnavailable."""
    with translated():
        with suppress(ResponseError):  # one that does not tell
            server: Any = await client.info("server")
            if "cluster" in (server.get("redis_mode"), server.get("server_mode")):
                raise StoreUnfit(IN_CLUSTER)
        try:
            number: Any = await client.get(keys.SCHEMA)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            raise StoreUnfit(foreign(keys.SCHEMA)) from error
        if number is None and await client.exists(keys.SITES, keys.SITES_VERSION, keys.TOKENS):
            raise StoreUnfit(
                f"the store was written by a version before schema {keys.SCHEMA_NUMBER}; use an empty database"
            )
    if number is not None and number != str(keys.SCHEMA_NUMBER).encode():
        shown = number.decode("utf-8", "replace")[:20] if isinstance(number, bytes) else number
        raise StoreUnfit(f"the store has schema {shown}, this program schema {keys.SCHEMA_NUMBER}: use its own version")
    return number is not None


def claim_folder(data_dir: Path) -> None:
    """Refuse (FolderUnfit) a data folder of another schema; write the number into one that is new. Raises OSError."""
    path = data_dir / FILE
    try:
        found = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        # New, or a journal that was copied here: its files say what they are.
        if any(not _is_ours(segment) for segment in data_dir.glob("journal/[0-9]*/*.log")):
            raise FolderUnfit(
                f"{data_dir} was written by a version before schema {keys.SCHEMA_NUMBER}; use an empty folder"
            ) from None
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, b"%d\n" % keys.SCHEMA_NUMBER)
        return
    if found != str(keys.SCHEMA_NUMBER):
        raise FolderUnfit(
            f"{data_dir} has schema {found[:20]}, this program schema {keys.SCHEMA_NUMBER}: use its own version"
        )


def _is_ours(segment: Path) -> bool:
    with segment.open("rb") as file:
        head = file.read(len(MAGIC))
    return head in (MAGIC, b"")
