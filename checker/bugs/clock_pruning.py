"""Clocks that grow too long lose their oldest entry, and ancestors come back as siblings.

A clock gets an entry for every node that ever coordinated a put of the key. The Dynamo paper (§4.4)
feared for the size: with each entry Dynamo keeps the time of its last update, and when there are
more than ten, the oldest goes. The paper adds that this "can lead to inefficiencies in
reconciliation", as descendants can no longer be told to be such, and that the problem had not come
up in production.

It came up in Riak's. An entry that is gone says that the writer had *not* seen that node's writes,
so whatever he replaced of them is concurrent with what he wrote. A replica that was down and still
holds the old value offers it again, and it stays. Where the clock was pruned on the way rather than
at the put, it does not end at all: the read repair that sends the pruned version conflicts with the
one that it came from, so the next read repairs again (basho/riak_kv 26). A handoff made siblings in
an endless loop (basho/riak_core 613); two clusters that prune differently repair each other for
ever (basho/riak_kv 1864). The clients that had read everything, and reconciled, did nothing wrong.

What to do instead: make few actors. With an entry per server the threshold is out of reach of a
cluster that behaves; and an entry may go only once no replica holds anything that it covers, which
is a question about replicas, not about age.

Here. Contexts are stored as the client brought them; nothing prunes. The bug keeps one entry of a
context, the last by name as there are no times, instead of the ten most recent; so two nodes are
enough to see it.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="clock-pruning",
    edits=(
        Edit(
            "writing.py",
            "Version(dot, put.context, put.value)",
            "Version(dot, Clock(put.context.entries[-1:]), put.value)",
        ),
    ),
    model="show-two",
    noticed_by=("exact-discard",),
)
