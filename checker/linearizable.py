"""Whether a history is that of one register: the search of Wing and Gong, with the memory of Lowe.

A history is *linearizable* if each call can be given a moment between its beginning and its end at which it happened at
once, so that every get gives the value of the latest put before it, or nothing if there was none. A Dynamo-style store
is not linearizable and does not claim to be: it gives siblings, and an unfinished put may be seen by one get and missed
by a later one.

The search goes along the calls and returns in real time. Any call that has begun before the first return that is left
may happen next, if the register allows it; where that return is reached and its call has not happened, the last choice
is taken back (Wing and Gong, "Testing and verifying concurrent objects", 1993). From the same calls done and the same
value in the register, nothing new can come, so that each such pair is looked at once (Lowe, "Testing for
linearizability", 2017). A put of indefinite outcome has no return: it may happen at any time, or never.

That a history is not linearizable is shown by a part of it from which no call can be left out. A put may be left out
only if no get in the part gave its value; then what remains is linearizable wherever the whole is, and what the part
shows is true of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from checker.history import Call
from spec.clock import NOTHING
from spec.messages import Found, Put
from spec.types import ClientId, NodeId, RequestId, Value

STRANGER = RequestId(ClientId("a client without a log"), 1)


class _Entry:
    """A beginning or a return, in a doubly linked list."""

    __slots__ = ("before", "call", "number", "other", "then")

    def __init__(self, number: int, call: Call | None) -> None:
        self.number, self.call = number, call  # no call: it is a return
        self.before: _Entry | None = None
        self.then: _Entry | None = None
        self.other: _Entry | None = None  # of a beginning, its return


def values_read(call: Call) -> tuple[Value, ...]:
    """What a get gave."""
    return tuple([v.value for v in call.result.siblings]) if isinstance(call.result, Found) else ()


def value_put(call: Call) -> Value | None:
    """What a put writes."""
    return call.operation.value if isinstance(call.operation, Put) else None


def linearization(calls: Sequence[Call]) -> list[Call] | None:
    """The calls of one key in an order that a register allows, without those that may not have happened; else None."""
    head = _linked(calls)
    left = sum(call.ended is not None for call in calls)
    done, value = 0, None
    taken: list[tuple[_Entry, Value | None]] = []
    seen: set[tuple[int, Value | None]] = {(0, None)}
    entry = head.then
    while left:
        assert entry is not None, "a return is left, and is met"
        if entry.call is not None:
            after = _allowed(entry.call, value)
            reached = done | 1 << entry.number
            if after is not None and (reached, after[0]) not in seen:
                seen.add((reached, after[0]))
                taken.append((entry, value))
                done, value = reached, after[0]
                left -= entry.other is not None
                _lift(entry)
                entry = head.then
                continue
            entry = entry.then
            continue
        if not taken:
            return None
        entry, value = taken.pop()
        done ^= 1 << entry.number
        left += entry.other is not None
        _put_back(entry)
        entry = entry.then
    return [entry.call for entry, _ in taken if entry.call is not None]


def _allowed(call: Call, value: Value | None) -> tuple[Value | None] | None:
    """The register after a call; None if a register with this value does not allow it."""
    if call.is_put:
        return (value_put(call),)
    return (value,) if values_read(call) == (() if value is None else (value,)) else None


def _linked(calls: Sequence[Call]) -> _Entry:
    """Beginnings and returns by time, beginnings first; the head of the list stands for nothing."""
    moments: list[tuple[int, int, int, _Entry]] = []
    for number, call in enumerate(calls):
        begin = _Entry(number, call)
        moments.append((call.began, 0, number, begin))
        if call.ended is not None:
            begin.other = _Entry(number, None)
            moments.append((call.ended, 1, number, begin.other))
    head = last = _Entry(-1, None)
    for *_, entry in sorted(moments, key=lambda moment: moment[:3]):
        last.then, entry.before = entry, last
        last = entry
    return head


def _lift(entry: _Entry) -> None:
    """Take a call and its return out of the list."""
    for one in (entry, entry.other):
        if one is not None and one.before is not None:
            one.before.then = one.then
            if one.then is not None:
                one.then.before = one.before


def _put_back(entry: _Entry) -> None:
    """Put them back where they were, the last taken out first."""
    for one in (entry.other, entry):
        if one is not None and one.before is not None:
            one.before.then = one
            if one.then is not None:
                one.then.before = one


# The smallest part that shows it.


def with_strangers(calls: Sequence[Call]) -> list[Call]:
    """The calls, and for each value that nobody put in them a put by somebody unknown, at any time."""
    put = {value_put(call) for call in calls if call.is_put}
    unknown = [(call, v) for call in calls for v in values_read(call) if v not in put]
    strangers = {
        value: Call(STRANGER, NodeId("?"), Put(call.operation.key, value, NOTHING), -1, None, None, "no log")
        for call, value in reversed(unknown)
    }
    return [*strangers.values(), *calls]


def smallest_window(calls: Sequence[Call]) -> list[Call] | None:
    """A part of the calls of one key that is not linearizable, and would be without any one of it; None if all are."""
    whole = with_strangers(calls)
    if linearization(whole) is not None:
        return None
    part = _shortest_beginning(whole)
    while True:
        smaller = _without(part, [call for call in part if not call.is_put])
        smaller = _without(smaller, [call for call in smaller if call.is_put])
        if len(smaller) == len(part):
            return part
        part = smaller


def _shortest_beginning(calls: list[Call]) -> list[Call]:
    """What was known at the first moment at which no order was left."""
    ends = sorted(call.ended for call in calls if call.ended is not None)
    first, last = 0, len(ends) - 1
    while first < last:
        middle = (first + last) // 2
        if linearization(_until(calls, ends[middle])) is None:
            last = middle
        else:
            first = middle + 1
    return _until(calls, ends[first])


def _until(calls: list[Call], moment: int) -> list[Call]:
    """What was known of them at a moment: later answers had not come, and a get without an answer says nothing.

    Puts that had not begun are in it too where their values were read, which shows at once that this cannot be.
    """
    known = [call for call in calls if call.ended is not None and call.ended <= moment]
    read = {value for call in known for value in values_read(call)}
    pending = [replace(call, ended=None) for call in calls if call.is_put and call not in known]
    begun = [call for call in pending if call.began <= moment or value_put(call) in read]
    return sorted([*known, *begun], key=lambda call: call.began)


def _without(part: list[Call], candidates: list[Call]) -> list[Call]:
    """Leave out of a part as many of the candidates as can be, in ever smaller groups."""
    size = max(1, len(candidates) // 2)
    while candidates:
        at = 0
        while at < len(candidates):
            group = candidates[at : at + size]
            rest = [call for call in part if call not in group]
            if all(map(_may_go(rest), group)) and linearization(rest) is None:
                part, candidates = rest, candidates[:at] + candidates[at + size :]
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return part


def _may_go(rest: list[Call]) -> Callable[[Call], bool]:
    """Whether a call may be left out: a get always, a put if no get that stays gave its value."""
    read = {value for call in rest for value in values_read(call)}
    return lambda call: not call.is_put or value_put(call) not in read
