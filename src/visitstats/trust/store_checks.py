"""Doctor: the checks of the store, as rows of `trust.doctor`."""

from collections.abc import Iterable, Iterator

from visitstats.core.growth import most_bytes
from visitstats.core.sites import Site
from visitstats.store.fitness import Condition
from visitstats.store.rights import Rights
from visitstats.trust.doctor import HEADROOM, MIB, Row

LEAST = {"redis": (7, 0), "valkey": (7, 2)}
CLOCK_SECONDS = 1.0
"""Days begin by the service's clock, and keys expire by the store's."""
PING_SECONDS = 0.005
"""A commit is two round trips. If they take longer than this, they outweigh the fsync of a hit."""


def check_store(condition: Condition, *, embedded: bool) -> Iterator[Row]:
    """Check the server's condition."""
    yield _version(condition)
    yield _policy(condition)
    yield _memory(condition)
    yield _append_only(condition, embedded=embedded)
    yield _write_errors(condition)
    if condition.mode == "cluster":
        yield Row(
            "role",
            "fail",
            "a node of a cluster",
            "it has only a part of the keys: use a server that is no cluster node",
        )
    elif condition.role == "master":
        yield Row("role", "ok", "primary")
    else:
        yield Row(
            "role", "fail", condition.role or "not told", "let redis_url lead to the primary: a replica takes no writes"
        )
    ahead = condition.clock_ahead
    if abs(ahead) > CLOCK_SECONDS:
        found = f"the store's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours"
        yield Row("clock", "warn", found, "let both machines follow the same time servers (chrony, systemd-timesyncd)")
    else:
        yield Row("clock", "ok", f"{ahead:+.3f} s between the store and this machine")
    if condition.ping > PING_SECONDS:
        yield Row(
            "latency", "warn", f"{condition.ping * 1000:.1f} ms a round trip", "put the store nearer to the service"
        )
    else:
        yield Row("latency", "ok", f"{condition.ping * 1000:.2f} ms a round trip")


def check_growth(condition: Condition, sites: Iterable[Site]) -> Row:
    """Say whether the store has room for what strangers can make the sites grow to (`core.growth`)."""
    most = {site.id: most_bytes(site) for site in sites}
    limit = condition.most_bytes if condition.most_bytes > 0 else condition.machine_bytes
    found = f"strangers can make {len(most)} sites grow to {sum(most.values()) / MIB:.0f} MiB"
    if limit <= 0 or sum(most.values()) <= (1 - HEADROOM) * limit:
        return Row("growth", "ok", found)
    largest = max(most, key=lambda site: most[site])
    return Row(
        "growth", "warn", f"{found}, of {limit / MIB:.0f} MiB",
        f"give the store more memory, or small sites smaller limits, as for {largest} ({most[largest] / MIB:.0f} MiB): "
        "site set --max-visitors, --max-articles (docs/security.md)",
    )  # fmt: skip


def check_rights(rights: Rights | None) -> Row:
    """Say whether the store's user may do all that is needed."""
    if rights is None:
        return Row("rights", "ok", "not told: the store does not let its user ask (ACL DRYRUN)")
    if rights.missing:
        wanted = " ".join(f"+{name}" for name in rights.missing)
        return Row(
            "rights", "fail", f"user {rights.user} may not use {', '.join(rights.missing)}",
            f"ACL SETUSER {rights.user} ~vs:* {wanted}, and in the server's ACL file (deploy/redis/visitstats.acl)",
        )  # fmt: skip
    snapshots = "" if rights.snapshot else "; none to take snapshots: backups read the store site by site"
    return Row("rights", "ok", f"user {rights.user} has all{snapshots}")


def check_keys(trouble: str) -> Row:
    """Check whether the keys belong to visitstats; `trouble` says why they do not (`Fitness.check_keys`)."""
    if trouble:
        return Row("keys", "fail", trouble, "no hit is counted there until that is put right; hits wait in the journal")
    return Row("keys", "ok", "ours, of this version")


def _version(condition: Condition) -> Row:
    name = f"{condition.server.capitalize()} {condition.version or '(version not told)'}"
    numbers = tuple(int(part) for part in condition.version.split(".")[:2] if part.isdigit())
    if numbers < LEAST[condition.server]:
        return Row("store version", "fail", name, "Redis 7.0 or Valkey 7.2 and later are supported: upgrade it")
    return Row("store version", "ok", name)


def _policy(condition: Condition) -> Row:
    if condition.policy == "noeviction":
        return Row("eviction", "ok", "noeviction")
    return Row(
        "eviction", "fail", condition.policy or "not told",
        "set maxmemory-policy to noeviction: CONFIG SET maxmemory-policy noeviction, and in its file; else the store "
        "throws counts away when its memory is full",
    )  # fmt: skip


def _memory(condition: Condition) -> Row:
    used = f"{condition.used_bytes / MIB:.0f} MiB used"
    limit = condition.most_bytes if condition.most_bytes > 0 else condition.machine_bytes
    what = "maxmemory" if condition.most_bytes > 0 else "the machine's memory"
    if limit <= 0:
        return Row("store memory", "ok", f"{used}, no limit told")
    found = f"{used} of {limit / MIB:.0f} MiB ({what})"
    if condition.used_bytes > (1 - HEADROOM) * limit:
        return Row(
            "store memory", "warn", found, "give it more, or hits are soon journalled only and no longer counted"
        )
    return Row("store memory", "ok", found)


def _append_only(condition: Condition, *, embedded: bool) -> Row:
    sync = condition.append_fsync or "not told"
    if condition.append_only:
        if condition.append_fsync == "no":
            return Row("persistence", "warn", "appendonly yes, appendfsync no", "set appendfsync to everysec")
        return Row("persistence", "ok", f"appendonly yes, appendfsync {sync}")
    advice = (
        "set appendonly to yes: what it loses in a crash is healed from the journal only as far as that reaches back"
    )
    if embedded:
        advice = "the embedded store is started with appendonly yes: somebody has changed it; restart the service"
    return Row(
        "persistence", "warn" if condition.snapshots else "fail", "appendonly no" + (
            ", snapshots only" if condition.snapshots else ", and no snapshots: a restart of the store loses all counts"
        ), advice,
    )  # fmt: skip


def _write_errors(condition: Condition) -> Row:
    if condition.append_error:
        return Row("store's disk", "fail", condition.append_error, "see the store's log: its disk is full or failing")
    if condition.snapshot_error:
        return Row(
            "store's disk", "warn", condition.snapshot_error,
            "see the store's log; with stop-writes-on-bgsave-error it takes no hits until a snapshot succeeds",
        )  # fmt: skip
    return Row("store's disk", "ok", "its last writes succeeded")
