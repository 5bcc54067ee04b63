"""The failure detector, with given times."""

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.detector import Detector, Opinion, Patience
from spec.types import NodeId

B, C = NodeId("b"), NodeId("c")
INTERVAL, LOOK = 1.0, 0.1


def detector(patience: Patience | None = None) -> Detector:
    return Detector([B, C], patience or Patience(), INTERVAL, LOOK, 0.0)


def watch(subject: Detector, since: float, until: float) -> float | None:
    """Look as a node does, and hear nothing; when b was suspected, if it was."""
    for step in range(1, round((until - since) / LOOK) + 1):
        now = since + step * LOOK
        subject.look(now)
        if B in subject.suspected:
            return now
    return None


def beat(subject: Detector, intervals: list[float]) -> float:
    """Heartbeats of b at these intervals, and looks in between; when the last came."""
    now = looked = 0.0
    subject.heartbeat(B, now)
    for interval in intervals:
        now += interval
        while looked + LOOK < now:
            looked += LOOK
            subject.look(looked)
            assert B not in subject.suspected, f"suspected {now - looked:.1f} s before it was heard again"
        subject.heartbeat(B, now)
    subject.look(now)
    return now


@given(st.lists(st.floats(0.5, 1.5), max_size=150))
def test_who_beats_about_once_in_an_interval_is_not_suspected_and_who_stops_is_within_seconds(
    intervals: list[float],
) -> None:
    subject = detector()
    last = beat(subject, intervals)
    suspected_at = watch(subject, last, last + 60)
    assert suspected_at is not None
    assert 2 <= suspected_at - last <= 4.5
    if all(0.9 <= interval <= 1.1 for interval in intervals):
        assert suspected_at - last <= 3


@given(st.lists(st.floats(0, 5), min_size=2, max_size=20), st.lists(st.floats(0.5, 2.5), max_size=50))
def test_phi_grows_with_silence_and_falls_with_any_sign(times: list[float], intervals: list[float]) -> None:
    subject = detector()
    now = 0.0
    for interval in intervals:
        now += interval
        subject.heartbeat(B, now)
    phis = [subject.opinion(B, now + later).phi for later in sorted(times)]
    assert all(before <= after for before, after in pairwise(phis))
    subject.heard(B, now + 5)
    assert subject.opinion(B, now + 5).phi < 1


def test_phi_is_what_the_paper_says() -> None:
    """With mean and deviation 1: a silence of 1 is as likely as not, one of 2 (a deviation more) one in 6.3."""
    subject = detector(Patience(deviation_seconds=1.0))
    subject.heartbeat(B, 0.0)
    for silence, probability in ((1.0, 0.5), (2.0, 0.158655), (3.0, 0.0227501), (7.0, 9.86588e-10)):
        assert math.isclose(subject.opinion(B, silence).phi, -math.log10(probability), abs_tol=0.01)
    assert subject.opinion(B, 1e9).phi == 300


def test_irregular_heartbeats_are_given_more_time() -> None:
    regular, irregular = detector(), detector()
    ends = [beat(regular, [1.0] * 50), beat(irregular, [0.4, 1.6] * 25)]
    waits = [watch(each, end, end + 60) for each, end in zip((regular, irregular), ends, strict=True)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[1] - ends[1] > waits[0] - ends[0] + 1


def test_any_sign_of_life_ends_a_silence_but_only_heartbeats_are_sampled() -> None:
    """Messages may come a thousand times a second and then stop: that is no surprise."""
    subject = detector()
    end = beat(subject, [1.0] * 5)
    for message in range(1000):
        subject.heard(B, end + message / 1000)
    assert watch(subject, end + 1, end + 2.9) is None
    assert watch(subject, end + 2.9, end + 4) is not None


def test_a_refused_connection_is_believed_at_once_and_a_sign_of_life_more() -> None:
    subject = detector()
    subject.heartbeat(B, 0.0)
    subject.refused(B)
    subject.look(0.1)
    assert subject.suspected == {B}
    assert subject.opinion(B, 0.6) == Opinion(0.02, 0.6, 0.5, "connection refused")
    subject.heard(B, 0.7)
    assert subject.suspected == frozenset()
    subject.look(0.8)
    assert subject.opinion(B, 0.8).suspected_seconds is None
    subject.refused(C)
    subject.heard(C, 0.85)
    subject.look(0.9)
    assert subject.suspected == frozenset()


def test_who_was_never_heard_is_suspected_like_who_fell_silent() -> None:
    subject = detector()
    suspected_at = watch(subject, 0.0, 10.0)
    assert suspected_at is not None
    assert 2 <= suspected_at <= 3
    assert subject.opinion(B, 10.0).heard_seconds is None
    assert subject.opinion(B, 10.0).why == "silent"


def test_an_outage_is_no_sample() -> None:
    """Who was away for an hour is suspected as fast as before when it goes again."""
    subject = detector()
    end = beat(subject, [1.0] * 20)
    assert watch(subject, end, end + 3600) is not None
    subject.heard(B, end + 3600)
    assert subject.suspected == {C}
    subject.heartbeat(B, end + 3600.5)
    subject.heartbeat(B, end + 3601.5)
    suspected_at = watch(subject, end + 3601.5, end + 3700)
    assert suspected_at is not None
    assert suspected_at - end <= 3604.5


@given(st.floats(0.3, 1000.0))
def test_time_in_which_the_node_did_not_run_is_nobody_s_silence(away: float) -> None:
    subject = detector()
    end = beat(subject, [1.0] * 20)
    subject.look(end + away)
    assert subject.suspected == {C} or away < 0.2
    assert B not in subject.suspected
    suspected_at = watch(subject, end + away, end + away + 10)
    assert suspected_at is not None
    assert 2 <= suspected_at - end - away <= 3


def test_a_suspicion_ends_only_with_a_sign_of_life() -> None:
    """Not because the node was away itself and takes that off."""
    subject = detector()
    suspected_at = watch(subject, 0.0, 10.0)
    assert suspected_at is not None
    subject.look(suspected_at + 100)
    assert subject.suspected == {B, C}


@pytest.mark.parametrize(
    "wrong", ["threshold=0.5", "threshold=nan", "threshold=inf", "deviation_seconds=0", "deviation_seconds=nan", "x=1"]
)
def test_a_patience_that_cannot_work_is_refused(wrong: str) -> None:
    name, value = wrong.split("=")
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.convert({name: float(value)}, Patience)
