"""Two clients put through one server, and the second put silently covers the first.

Two customers add to an empty cart at the same moment; both requests happen to be coordinated by
server A. Neither has seen the other's, so both should stay. Give each version the plain version
vector of the textbooks, one entry per server, and they become [A:1] and [A:2]: A's own counter has
ordered them, [A:2] dominates, and the first customer's apples are gone from every replica that
hears of the pears. Nobody crashed, no message was lost, both customers were told "stored".

The vector cannot help it. One number per server stands for all of 1 to n, so it has no way to say
"2, but not 1". An entry per client would, at the price of vectors as long as the list of customers,
and of losses again as soon as two threads share a client's name. The way out is to keep the name of
the write event, the *dot* (A, 2), apart from what its writer had seen, the *context* []: a version
is beaten only by one whose context covers its dot.

Who had it. Every store with one entry per server and no dots: Preguiça, Baquero, Almeida, Fonte and
Gonçalves show it on Dynamo's clocks in "Dotted Version Vectors" (2010; the README of their
reference implementation has the shortest account). Riak escaped by making each stale put concurrent
with everything, and got the bug sibling-explosion in exchange.

Here. `supersedes` asks whether the *context* of one version covers the dot of the other. The bug
asks its whole clock, own dot included, as a version vector does.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="lost-sibling",
    edits=(
        Edit(
            "siblings.py",
            "    return covers(newer.context, older.dot)\n",
            "    return newer != older and covers(absorb(newer.context, newer), older.dot)\n",
        ),
    ),
    model="puts",
    noticed_by=("no-lost-write", "quorum-meaning-put", "exact-discard"),
    refutes="law_add_exact",
)
