"""Contexts as clients see them: opaque tokens that a node gave out and recognises.

A put supersedes whatever its context covers. Were clients trusted with clocks, one forged clock `{A: 2**60}` would
silently cover every later write. So a client only ever holds a token: the clock, with a keyed BLAKE2b MAC over it and
over the key that it was read for, under a secret that the nodes share. A token made up, altered, moved to another key
or brought from another cluster is refused before the node looks at the request.

The clock inside is not hidden, only bound: clients may look (`peek`), in order to log what they were told.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import b2a_base64
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest

import msgspec

from spec.clock import Clock
from spec.types import Key

MAC_BYTES = 16
PURPOSE = b"ringspec context"
URL_SAFE = bytes.maketrans(b"+/", b"-_")

_encode_clock = msgspec.msgpack.Encoder().encode
_decode_clock = msgspec.msgpack.Decoder(Clock).decode


class TokenError(ValueError):
    """A context that was not given out for this key by this cluster; one line."""


def mac(secret: bytes, key: Key, body: bytes) -> bytes:
    """What binds an encoded clock to a key: only holders of the secret can compute it. The secret is 1 to 64 bytes."""
    keyed = keyed_with(secret).copy()
    keyed.update(len(key).to_bytes(8) + key + body)  # the length keeps (key, body) apart from any other split
    return keyed.digest()


@lru_cache(maxsize=16)
def keyed_with(secret: bytes) -> blake2b:
    """The beginning of every MAC under a secret: the same for all, and half of the work."""
    assert secret, "an empty secret would let anybody make contexts"
    return blake2b(key=secret, digest_size=MAC_BYTES, person=PURPOSE)


def seal(secret: bytes, key: Key, clock: Clock) -> str:
    """The token for what somebody who read this key has seen; printable ASCII without spaces."""
    body = _encode_clock(clock)
    return spelled(mac(secret, key, body) + body)


def unseal(secret: bytes, key: Key, token: str) -> Clock:
    """The clock of a token that this cluster gave out for this key. Raises TokenError for any other."""
    found, body = split(token)
    if not compare_digest(found, mac(secret, key, body)):
        raise TokenError("the context was not given out for this key by this cluster; get the key and use what it says")
    return decode_clock(body)


def peek(token: str) -> Clock:
    """The clock that a token claims; nothing has been checked. Raises TokenError where there is none."""
    return decode_clock(split(token)[1])


def spelled(raw: bytes) -> str:
    """Bytes as URL-safe base64 without padding."""
    return b2a_base64(raw, newline=False).translate(URL_SAFE, b"=").decode()


def split(token: str) -> tuple[bytes, bytes]:
    """The MAC and the encoded clock of a token. Raises TokenError if it has another form."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        raw = b""
    if len(raw) <= MAC_BYTES or spelled(raw) != token:  # one spelling only
        raise TokenError("this is not a context; get the key and use the one that it says")
    return raw[:MAC_BYTES], raw[MAC_BYTES:]


def decode_clock(body: bytes) -> Clock:
    """Raises TokenError if the bytes are not a clock."""
    try:
        return _decode_clock(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise TokenError("this is not a context; get the key and use the one that it says") from None
