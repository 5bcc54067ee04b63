"""R + W > N, and yet a get misses an acknowledged put: quorums of stand-ins need not meet.

Three replicas, W = 2, R = 2: every set of two of them meets every other, so a get sees every
acknowledged put. It is the first thing that one learns about quorums, and it is about sets of
*three* nodes. With a sloppy quorum the sets are drawn from all nodes: whoever suspects an owner
counts the next node of the walk in its place. A put acknowledged by {A, D} and a get answered by
{B, C} are quorums of the right size that have nobody in common. Nothing is lost, hints bring it all
home in the end; but until then "acknowledged" does not mean "will be read".

This is no defect of a store: it is what sloppy quorums are, the price of being always writable, and
the Dynamo paper says so in passing (§4.6). The defect is in the sentence "we have R + W > N, so
reads are consistent". It took until January 2012 for Riak's mailing list to work out the case of
{A, D, E} and {B, C}. So it stands here as a control that must fail: a store that promises *strict*
placement, and counts stand-ins all the same.

What to do instead: ask for owners. PR and PW count primaries only, and with PR + PW > N a get sees
every such put, or both fail; or select strict placement, and do without the stand-ins.

Here. `holders_of` looks at suspicion only where the store is sloppy. The bug is to look at it
always. In the shortest story it is the get that counts a stand-in, which has nothing to say.
"""

from checker.bugs.bug import Bug
from checker.bugs.edits import Edit

BUG = Bug(
    name="sloppy-is-strict",
    edits=(Edit("placement.py", "if not node.config.sloppy or not node.suspected:", "if not node.suspected:"),),
    model="strict-suspect",
    noticed_by=("quorum-meaning-get",),
)
