"""busuanzi and Vercount: Redis keys, read from a file of commands, from JSON, or from a live server.

busuanzi keeps MD5 hashes of hosts and paths. They cannot be reversed, so all variants of the known addresses are hashed
and compared.
"""

from collections.abc import Iterable
from hashlib import md5

from visitstats.core.errors import HitRejected
from visitstats.core.hosts import fold_host
from visitstats.imports.draft import Draft
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.source import Source

BUSUANZI, VERCOUNT = "busuanzi", "vercount"
_NOWHERE = Place("Redis")


def _all(source: Source) -> list[str]:
    return [name for keys in source.keys for name in (*keys.numbers, *keys.scores)]


def knows_busuanzi(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if any(":site_pv" in name or ":page_pv" in name for name in _all(source)) else 0


def knows_vercount(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if any(name.startswith(("pv:site:", "pv:page:")) for name in _all(source)) else 0


def read_vercount(source: Source, draft: Draft) -> None:
    """Add the numbers of the keys `pv:site:HOST` and `pv:page:HOST:PATH`, which are in plain text."""
    _read_plain(source, draft, "pv:site:", "pv:page:")


def read_busuanzi(source: Source, draft: Draft) -> None:
    """Add the numbers of the keys `site_pv` and `page_pv`, which have hashes or plain text."""
    prefix = draft.options.prefix.rstrip(":")
    names = _all(source)
    if not any(name.startswith(f"{prefix}:") for name in names):
        raise ImportRefused(source.items[0].place if source.items else _NOWHERE,
                            f"no key begins with {prefix}: ; say --prefix")  # fmt: skip
    hosts = {digest: host for host in _hosts(draft) for digest in _digests(host)}
    pages: dict[str, str] = {}
    for address in draft.options.pages:
        for digest in _page_digests(address, draft):
            pages.setdefault(digest, address)
    others = unmatched = unmatched_pages = matched = total = 0
    has_total = False
    for keys in source.keys:
        for name, (n, _place) in keys.numbers.items():
            kind, _, rest = name.removeprefix(f"{prefix}:").partition(":")
            if kind == "site_pv" and name.startswith(prefix):
                if rest in hosts or _is_ours(rest, draft):
                    draft.add_period("views", "", n)
                    total, has_total = total + n, True
                else:
                    others += 1
            elif kind == "page_pv":
                host, _, path = rest.partition(":")
                if _is_ours(host, draft) and path:
                    draft.article(path if path.startswith("/") else f"/{path}", n, _place)
                    matched += n
                else:
                    others += 1
        for name, scores in keys.scores.items():
            kind, _, rest = name.removeprefix(f"{prefix}:").partition(":")
            if kind != "page_pv":
                continue
            if rest not in hosts and not _is_ours(rest, draft):
                others += 1
                continue
            for member, (n, place) in scores.items():
                address = pages.get(member) or (member if member.startswith("/") else "")
                if address:
                    draft.article(address, n, place)
                    matched += n
                else:
                    draft.leave_out("unmatched", place, member, n)
                    unmatched, unmatched_pages = unmatched + n, unmatched_pages + 1
    _tell(draft, unmatched, unmatched_pages, others, total - matched - unmatched if has_total else 0)
    draft.ignore("uv", "sketches of people, not visits")


def _tell(draft: Draft, unmatched: int, pages: int, others: int, rest: int) -> None:
    if unmatched:
        which = "1 page whose address is" if pages == 1 else f"{pages} pages whose addresses are"
        draft.warn("unmatched", f"{unmatched} views of {which} not in the list (an MD5 cannot be turned back)")
    if others:
        draft.warn("other-site", f"{others} {'key' if others == 1 else 'keys'} of another host")
    if rest > 0:
        draft.warn("undated and unmatched", f"{rest} views are in the site's total only")


def _read_plain(source: Source, draft: Draft, site: str, page: str) -> None:
    others = total = matched = 0
    has_total = False
    for keys in source.keys:
        for name, (n, place) in keys.numbers.items():
            if name.startswith(site):
                if _is_ours(name.removeprefix(site), draft):
                    draft.add_period("views", "", n)
                    total, has_total = total + n, True
                else:
                    others += 1
            elif name.startswith(page):
                host, _, path = name.removeprefix(page).partition(":")
                if _is_ours(host, draft):
                    draft.article(path if path.startswith("/") else f"/{path}", n, place)
                    matched += n
                else:
                    others += 1
    _tell(draft, 0, 0, others, total - matched if has_total else 0)


def _is_ours(host: str, draft: Draft) -> bool:
    return "." in host and bool(draft.url_of(f"{host}/"))


def _hosts(draft: Draft) -> Iterable[str]:
    for host in draft.site.hosts:
        if not host.startswith("*"):
            yield host
            yield f"www.{host}"


def _digests(text: str) -> tuple[str, str]:
    whole = md5(text.encode(), usedforsecurity=False).hexdigest()
    return whole, whole[8:24]


def _page_digests(address: str, draft: Draft) -> Iterable[str]:
    url = draft.url_of(address)
    host, _, rest = url.partition("://")[2].partition("/")
    try:
        fold_host(host)
    except HitRejected:
        return
    path = f"/{rest}"
    spellings = {
        path,
        path.split("?")[0],
        path.rstrip("/") or "/",
        f"{path.rstrip('/')}/",
        path.removesuffix("index.html"),
    }
    for spelling in spellings:
        yield from _digests(spelling)
        for name in {host, *_hosts(draft)}:
            for joined in (
                f"{name}&{spelling}",
                f"{name}{spelling}",
                f"https://{name}{spelling}",
                f"http://{name}{spelling}",
            ):
                yield from _digests(joined)
