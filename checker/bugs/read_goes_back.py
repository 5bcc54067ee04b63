"""A reader is shown the new value, and the next reader the old one.

A put reached one replica of three and has not succeeded yet, or never will. A get asks two
replicas, that one among them, and answers with the new value; the other of the two is stale, and is
sent the new value, after the answer. A second get, which begins when the first has ended, asks two
others before that repair arrives, and answers with the old value. Whoever looked twice saw time run
backwards. R + W > N is no help: the put was never acknowledged, so no quorum owes it to anybody.

It takes one thing to prevent it: what has been shown to anybody must be where the next reader
cannot miss it. So the repair comes first and the answer waits until W replicas hold what it shows.
That costs a round trip, in those gets only that found a difference; and a get that cannot repair
fails, so availability is paid too. Repairing the R that were read is not enough unless 2R > N: it
is W replicas that the next R have to meet.

Who had it. Cassandra promises monotonic quorum reads and blocks for its repairs; CASSANDRA-10726
asked whether a get should fail because a repair did not get through, and the answer, years later,
is an option of each table (`read_repair`, CASSANDRA-14635). Riak and Dynamo repair after the answer
and promise nothing of the kind.

Here. A store may choose (`blocking_repair`). The bug is to answer such a store's get as soon as R
have answered, and to repair after it; the put of the story has not even timed out.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="read-goes-back",
    edits=(Edit("reading.py", "if node.config.blocking_repair and isinstance(result, Found)", "if False"),),
    model="blocking",
    noticed_by=("quorum-meaning-get",),
)
