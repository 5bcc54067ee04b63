"""Configurations: each refusal is one line that says what is wrong, however the configuration comes to be."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from spec.ring import Member
from spec.types import LEAST_HELLO_BYTES, MEBIBYTE, Config, ConfigError, Limits, NodeId, RequestId
from tests.small import request

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Config(n=0), "n must be at least 1, not 0"),
    (lambda: Config(r=0), "r must be between 1 and n = 3, not 0"),
    (lambda: Config(r=4), "r must be between 1 and n = 3, not 4"),
    (lambda: Config(w=0), "w must be between 1 and n = 3, not 0"),
    (lambda: Config(n=1, r=1, w=2), "w must be between 1 and n = 1, not 2"),
    (lambda: Config(partitions=0), "partitions must be between 1 and 65536, not 0"),
    (lambda: Config(partitions=65537), "partitions must be between 1 and 65536, not 65537"),
    (lambda: Config(tokens=0), "tokens must be between 1 and 65536, not 0"),
    (lambda: Config(tokens=65537), "tokens must be between 1 and 65536, not 65537"),
    (lambda: Config(put_timeout_ms=0), "put_timeout_ms must be at least 1, not 0"),
    (lambda: Config(get_timeout_ms=-5), "get_timeout_ms must be at least 1, not -5"),
    (
        lambda: Config(limits=Limits(frame_bytes=MEBIBYTE)),
        "limit frame_bytes must hold a whole sibling set: at least n x siblings x (value_bytes + key_bytes) = "
        "50528256, not 1048576",
    ),
    (
        lambda: Limits(message_bytes=MEBIBYTE),
        "limit message_bytes must be at least frame_bytes = 67108864, not 1048576",
    ),
    (lambda: Member(NodeId("")), "a node must have a name"),
    (lambda: Member(NodeId("a"), weight=0), "the weight of node a must be 1 to 1000, not 0"),
    (lambda: Member(NodeId("a"), weight=1001), "the weight of node a must be 1 to 1000, not 1001"),
]


@pytest.mark.parametrize(("make", "problem"), REFUSED, ids=[problem for _, problem in REFUSED])
def test_what_cannot_work_is_refused_in_one_line(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        make()
    assert str(refusal.value) == problem
    assert "\n" not in problem


@pytest.mark.parametrize("limit", Limits.__struct_fields__)
def test_every_limit_must_be_positive(limit: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"limit {limit} must be at least 1, not 0"):
        msgspec.convert({limit: 0}, Limits)
    with pytest.raises(ConfigError, match=rf"^limit {limit} must be at least 1, not 0$"):
        replace(Limits(), **{limit: 0})
    least = LEAST_HELLO_BYTES if limit == "hello_bytes" else 1
    msgspec.convert({limit: least, "frame_bytes": 1}, Limits)


@pytest.mark.parametrize(
    "text", ['{"n":0}', '{"r":4}', '{"m":3}', '{"n":"3"}', '{"limits":{"siblings":0}}', '{"limits":{"kilobytes":1}}']
)
def test_a_decoded_configuration_is_as_checked_as_a_built_one(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Config)


def test_the_defaults_work_and_the_edges_too() -> None:
    assert (Config().n, Config().r, Config().w) == (3, 2, 2)
    Config(n=1, r=1, w=1, partitions=2**16, tokens=2**16, put_timeout_ms=1, get_timeout_ms=1)
    exact = 2 * 16 * (10 + 4096)
    limits = Limits(value_bytes=10, frame_bytes=exact)
    Config(n=2, limits=limits)
    with pytest.raises(ConfigError):
        Config(n=3, limits=limits)


def test_requests_are_shown_as_their_client_and_number() -> None:
    assert str(request(7, "ann")) == "ann#7"
    assert request(2) < request(10) < request(1, "d")
    assert isinstance(request(), RequestId)
