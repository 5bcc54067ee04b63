"""Wall clocks decide, and whoever has the slow one loses every write that he was told is safe.

There are no siblings to bother anybody with. Each value carries the time at which its writer's
machine wrote it, and of two values the later one stays. It converges, it is simple, and it is what
most stores of this family do unless told otherwise. What it converges to is another matter: of all
the writes that arrive within the error of the clocks, one is kept; and a machine whose clock is a
minute behind may write for that whole minute, after everybody else, in full view of what it
overwrites, be told "stored" each time, and leave no trace.

This is no defect that could be mended, but a choice, so it stands here as a control that must fail:
a checker that calls last-write-wins safe checks nothing. There are uses for it: values that are
written once, or that anybody may lose.

Who has it. Cassandra, for every cell, mostly by clients' timestamps. Riak with `allow_mult=false`
or `last_write_wins=true`: Jepsen ("Call me maybe: Riak", 2013) let clients write through a
partition, and after it healed acknowledged writes were missing in great numbers; with siblings and
a merge function, none was.

Here. A value in the model begins with the name of its client; the bug takes that for its timestamp,
so that client1's clock is the slow one. A put is then a merge like any other.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="last-write-wins",
    edits=(
        Edit(
            "siblings.py",
            "    return covers(newer.context, older.dot)\n",
            "    return (newer.value, newer.dot) > (older.value, older.dot)\n",
        ),
        Edit(
            "siblings.py",
            "    return FSet.of(v for v in siblings if not supersedes(version, v)) | FSet.of([version])\n",
            "    return merge(siblings, FSet.of([version]))\n",
        ),
    ),
    model="puts",
    noticed_by=("no-lost-write", "quorum-meaning-put", "exact-discard"),
)
