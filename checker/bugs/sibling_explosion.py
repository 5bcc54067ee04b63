"""One clock for all siblings: a put cannot say which of them its writer had read, so all of them stay.

A client reads x, somebody else adds y, the client writes x' over the x that it had read. One
sibling is new to it and has to stay; the other is the very one that it means to replace. But the
server keeps one clock for the whole set, [A:2], and the client's context [A:1] does not descend
from it. What the clock cannot tell apart has to be kept: x, y and x' are siblings now. Two clients
that take turns, each always one write behind the other, never lose a value and never get rid of
one: a hundred rounds leave a hundred siblings. No failure is needed, not even real concurrency.

It is lost-sibling turned inside out. There the clock claimed to know more than the writer did and
good values went; here it is taken to know nothing unless it knows all, and dead values stay. That
is the safe side, which is why it took years to be called a bug: objects of many megabytes, vnodes
that run out of memory reading one key, and repairs that carry it all to the other replicas.

Who had it. Riak, from its move to one clock entry per vnode (1.0, 2011) to 2.0. A test that shows
it without any fault is basho/riak_test 383; basho/riak_kv 746 cures it by storing with each value
the event that made it, so that a put removes exactly the siblings whose event its clock covers.
Riak called the option `dvv_enabled`.

Here. Every version carries its own dot, and a put its writer's context. The bug lets the context
count only if it descends from the clock of everything that the coordinator holds.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="sibling-explosion",
    edits=(
        Edit(
            "writing.py",
            "from spec.clock import Actor, Clock, Dot, covers\n",
            "from spec.clock import NOTHING, Actor, Clock, Dot, covers, descends\n",
        ),
        Edit(
            "writing.py",
            "        minted = mint(row, Version(dot, put.context, put.value), request, limits.remembered_requests)\n",
            "        known = put.context if descends(put.context, found(row.siblings).context) else NOTHING\n"
            "        minted = mint(row, Version(dot, known, put.value), request, limits.remembered_requests)\n",
        ),
    ),
    model="show",
    noticed_by=("exact-discard",),
)
