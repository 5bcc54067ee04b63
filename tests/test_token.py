"""Contexts as tokens: what was sealed is unsealed, and nothing else ever is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.clock import NOTHING, Actor, Clock
from spec.maps import Counts
from spec.token import TokenError, peek, seal, unseal
from spec.types import Key, NodeId

SECRET = b"s" * 32

actors = st.builds(Actor, st.sampled_from(["a", "b"]).map(NodeId), st.sampled_from(["i", "j"]), st.integers(1, 3))
clocks: st.SearchStrategy[Clock] = st.dictionaries(actors, st.integers(1, 2**40), max_size=4).map(Counts.of)
keys = st.binary(max_size=6).map(Key)


@given(keys, clocks)
def test_a_token_gives_back_its_clock_and_is_one_word_of_ascii(key: Key, clock: Clock) -> None:
    token = seal(SECRET, key, clock)
    assert unseal(SECRET, key, token) == clock == peek(token)
    assert token.isascii()
    assert len(token.split()) == 1


@given(keys, keys, clocks)
def test_a_token_is_good_for_its_key_and_its_secret_only(key: Key, other: Key, clock: Clock) -> None:
    token = seal(SECRET, key, clock)
    if key != other:
        with pytest.raises(TokenError, match="not given out for this key"):
            unseal(SECRET, other, token)
    with pytest.raises(TokenError, match="by this cluster"):
        unseal(SECRET[1:], key, token)


@given(keys, clocks, st.data())
def test_no_altered_token_is_accepted(key: Key, clock: Clock, data: st.DataObject) -> None:
    token = seal(SECRET, key, clock)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from([c for c in "AZaz09-_=+/ \n\0é" if c != token[at]]))
    for altered in (token[:at] + other + token[at + 1 :], token[:at], token[:at] + other + token[at:], token + token):
        with pytest.raises(TokenError):
            unseal(SECRET, key, altered)


@given(st.text() | st.binary().map(lambda b: b.hex()))
def test_any_text_is_refused_in_one_line(text: str) -> None:
    for read in (peek, lambda token: unseal(SECRET, Key(b"k"), token)):
        with pytest.raises(TokenError) as caught:
            read(text)
        assert "\n" not in str(caught.value)


def test_the_clock_of_another_key_cannot_be_moved_by_shifting_bytes_between_key_and_clock() -> None:
    """The MAC is over key and clock apart, not over their concatenation."""
    token = seal(SECRET, Key(b"ab"), NOTHING)
    for key in (b"a", b"", b"abc", b"ab\0"):
        with pytest.raises(TokenError):
            unseal(SECRET, Key(key), token)
