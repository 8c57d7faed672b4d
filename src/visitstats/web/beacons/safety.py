"""Headers of every answer, errors among them."""

Header = tuple[bytes, bytes]
SAFE: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
"""Pages, and answers that may be in a frame, have a policy of their own instead."""
LINES = b"".join([b"%b: %b\r\n" % header for header in SAFE])
"""The same as lines of an answer."""
