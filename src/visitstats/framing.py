"""How records are framed on disk: length of the payload, CRC32C of sequence and payload, sequence; little-endian,
frozen."""

import struct

import google_crc32c

RECORD = struct.Struct("<IIQ")
SEQUENCE = struct.Struct("<Q")


def frame(sequence: int, payload: bytes) -> bytes:
    """Return a payload with its header."""
    return RECORD.pack(len(payload), google_crc32c.value(SEQUENCE.pack(sequence) + payload), sequence) + payload
