"""The portal's signature of an article: it proves that the portal, and not whoever sent the beacon, has named it.

    signature = EXPIRY "." base64url(HMAC-SHA256(secret, site LF key LF title LF author LF EXPIRY)), without padding

All texts are UTF-8 and hold no line feed; EXPIRY is in seconds since the epoch (decimal). The title and the author are
what the page's head says (`title`, `meta name="author"`), each in one line with single spaces; or both are empty, and
only the key is signed. The portal writes the signature behind the key, `data-key="KEY sig=SIGNATURE"`, so that every
way in carries it. The form is frozen: portals make it in languages of their own (`docs/embedding.md`).
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from enum import IntEnum

_SIGNED = re.compile(r"(.*?)\s+sig=([0-9]{1,12})\.([A-Za-z0-9_-]{43})\s*", re.DOTALL)


class Vouch(IntEnum):
    """What a signature says."""

    NOTHING = 0
    KEY = 1
    """The article is the portal's."""
    FACTS = 2
    """And it has this title and this author."""


def split_key(text: str) -> tuple[str, str]:
    """Return the key that a page gives, and the signature behind it; "" for none."""
    found = _SIGNED.fullmatch(text) if " sig=" in text else None
    return (found[1], f"{found[2]}.{found[3]}") if found else (text, "")


def sign(secret: str, site: str, key: str, title: str, author: str, expires_s: int) -> str:
    """Return a signature, good until a moment. Raises ValueError for a text with a line feed."""
    parts = (site, key, title, author, str(expires_s))
    if any("\n" in part for part in parts):
        raise ValueError("what is signed holds no line feed")
    digest = hmac.digest(secret.encode(), "\n".join(parts).encode(), "sha256")
    return f"{expires_s}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def vouched(
    secrets: Sequence[str], site: str, key: str, title: str, author: str, signature: str, now_s: int
) -> tuple[Vouch, int]:
    """Return what a signature says of an article, by any of a site's secrets, and until when (seconds). 3 µs for each
    secret; compared in constant time."""
    text, _, _ = signature.partition(".")
    expires = int(text) if text else 0
    if expires <= now_s or "\n" in key:
        return Vouch.NOTHING, 0
    for secret in secrets:
        for vouch, what in ((Vouch.FACTS, (title, author)), (Vouch.KEY, ("", ""))):
            if hmac.compare_digest(sign(secret, site, key, *what, expires), signature):
                return (Vouch.KEY if what == ("", "") else vouch), expires
    return Vouch.NOTHING, 0
