"""A node that gave its data away comes back under its old name, and numbers its writes from 1 again.

Owner A is thought to be down, so D stands in for it: D coordinates a put and calls the write D:1. A
is back, D hands over what it held and, as it should, keeps nothing. A is suspected again, D is
asked again, knows nothing of this key any more, and calls its first write D:1. Two writes now have
one name. Whoever holds one of them takes the other for it: clocks that cover D:1 cover both, and
replicas that exchange their sets end up with either, each sure to have everything.

A name is only as good as the memory of what it was used for. Here the memory left the node on
purpose, by a handoff that worked; in Riak by a change of ownership: a partition moves from node 1
to node 2 and back, and node 1 coordinates before the data that it gave away is there again.

Who had it. Riak, in the first plan for an actor per node; the review of basho/riak_kv 127 names the
round trip of a partition, and the change settled on names that also say when the vnode began. The
same mistake came back by way of deleted and of lost data (see amnesia), until each key's numbering
got an epoch of its own (basho/riak_kv 1094, 2015).

Here. The actor belongs to the row: a row that first mints takes a fresh *birth* from a counter of
the disk, and both go when the row goes. So a second life is called D.2. The bug takes birth 1 every
time; one owner and one stand-in are world enough for it.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="reused-actor",
    edits=(Edit("writing.py", "birth if birth > 0 else disk.births + 1", "1"),),
    model="stand-in-again",
    noticed_by=("dot-uniqueness",),
)
