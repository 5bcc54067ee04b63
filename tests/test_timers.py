"""Timers: whatever is set and not cancelled fires once, not before its time, in the order of its time."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from impl.timers import CANCELLED, Timers
from spec.types import ClientId, RequestId


def request(number: int) -> RequestId:
    return RequestId(ClientId("me"), number)


class Clock(asyncio.SelectorEventLoop):
    """Time that only passes when nothing else is to be done, and then at once."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def sleep_until(self, when: float) -> None:
        self.now = max(self.now, when)


seconds = st.sampled_from([0.25, 0.5, 1.0, 1.75, 3.0])
deeds = st.lists(
    st.tuples(
        st.sampled_from(["set", "cancel", "wait"]), st.integers(1, 4), st.sampled_from([0.25, 0.5, 1.0, 1.75, 3.0])
    ),
    max_size=30,
)


@given(deeds)
def test_each_fires_once_when_its_time_is_up_unless_cancelled(deeds: list[tuple[str, int, float]]) -> None:
    loop = Clock()
    fired, expected = list[tuple[float, RequestId]](), dict[RequestId, float]()
    due = list[tuple[float, RequestId]]()

    async def pass_time(until: float) -> None:
        for when in sorted({when for when in expected.values() if when <= until} | {until}):
            loop.sleep_until(when)
            for _ in range(3):
                await asyncio.sleep(0)
            due.extend(sorted((when, r) for r, at in expected.items() if at == when))
            for request in [r for r, at in expected.items() if at == when]:
                del expected[request]

    async def main() -> None:
        timers = Timers(lambda request: fired.append((loop.now, request)))
        for deed, number, seconds in deeds:
            if deed == "set":
                timers.set(request(number), seconds)
                expected[request(number)] = loop.now + seconds
            elif deed == "cancel":
                timers.cancel(request(number))
                expected.pop(request(number), None)
            else:
                await pass_time(loop.now + seconds)
            assert len(timers) == len(expected)
        await pass_time(loop.now + 10)
        assert len(timers) == 0
        timers.set(request(1), 1.0)
        timers.close()
        await pass_time(loop.now + 10)

    loop.run_until_complete(main())
    loop.close()
    assert sorted(fired) == due
    assert [when for when, _ in fired] == [when for when, _ in due]


@given(st.lists(st.integers(1, 5_000), min_size=10, max_size=30))
def test_cancelled_timers_do_not_pile_up_and_the_others_fire(delays: list[int]) -> None:
    loop, fired = Clock(), list[RequestId]()

    async def main() -> None:
        timers = Timers(fired.append)
        for number in range(3 * CANCELLED):
            timers.set(request(number), delays[number % len(delays)] / 1000)
            if number >= len(delays):
                timers.cancel(request(number))
        assert len(timers) == len(delays)
        assert len(timers._heap) <= 2 * len(delays) + CANCELLED + 1
        loop.sleep_until(10)
        for _ in range(3):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert [each.operation for each in fired] == sorted(range(len(delays)), key=lambda i: (delays[i], i))
