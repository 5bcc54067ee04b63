"""A node that lost its disk numbers its writes from 1 again: others discard them as long replaced.

A stores a write as A:1, and another, whose writer had seen it, as A:2. Its disk is lost, and it
starts again under its old name on an empty one. A client puts; A finds no row, mints A:1, and the
put is acknowledged. But B holds A:2, whose writer had seen A:1: to B the new write is one that was
replaced long ago, and B does not keep it. When A next hears from B it drops it as well. A write
that a client was told is safe is nowhere. No message was lost, no clock was wrong, and nothing that
A could have looked at would have told it.

A dot is a promise: this name, once, for ever. Who has forgotten which names were used must not hand
out names of that kind any more. It need not remember; it needs another name.

Who had it. Riak (basho/riak_kv 679, found in 2013 by asking what happens if the coordinator cannot
read its own copy; also by restored backups, removed data directories and damaged files), cured for
lost data and for reaped tombstones by an epoch per key (1094). The Dynamo paper does not say what a
node that lost its disk calls itself.

Here. An actor is a node, an incarnation and a birth, and a node whose disk is new, lost or from the
past takes a fresh incarnation (spec.comeback). The bug leaves the incarnation out of the name.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="amnesia",
    edits=(Edit("writing.py", "Actor(node, disk.incarnation, ", 'Actor(node, "", '),),
    model="wipe-puts",
    noticed_by=("dot-uniqueness",),
)
