"""PW counts the primaries that are thought to be alive, not those that have acknowledged.

PW = 2 says: at least two of the three owners themselves, no stand-ins, hold this durably. The store
looks at its list of who is up, finds two owners there, lets the request begin, and then counts W
acknowledgements from whoever sends them. One is its own, one comes from a stand-in; the other owner
has heard nothing yet, or was down for a while already, and the list did not know. The client is
told "stored", with PW satisfied. A get with PR = 2 is answered by two owners, the one that was not
reached and the one that is back, and finds nothing.

A check before the deed tells what was likely; only what is counted afterwards tells what was done.
The list of who is up is always a guess about the past.

Who had it. Riak, from the day that PR and PW were added (basho/riak_kv 65 and 74, 2011: a minimum
of primaries "in the preference list", it says there, without a promise that they answer) to
basho/riak_kv 485 (2013), whose description has the case above, and the worse one of a node whose
network card was pulled.

Here. A put that wants more primaries than can be asked is turned down before anything changed; that
check is the promising one, and it stays. The bug is to leave it at that: to count, at the end, the
primaries that were asked.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="live-not-acked",
    edits=(
        Edit(
            "writing.py",
            "primaries(counted.holders, counted.acknowledged), counted.quorum)",
            "primaries(counted.holders, counted.holders.keys()), counted.quorum)",
        ),
    ),
    model="primaries",
    noticed_by=("quorum-meaning-put", "quorum-meaning-get"),
)
