"""The abstract protocol of one key: what its owners, the network and its clients may do, for any number of each.

It is built from the kernel's functions and from the guards that a node itself calls, but it knows nothing of requests,
timers or the order of steps: an action may happen whenever its guard allows, which is more than a cluster ever does. A
step of a cluster is none, one or several of these actions (`spec.witness` names which), so what holds here holds there.

An action is a function from a state and some parameters to the next state, with a guard of the same parameters named
`…_ok`. An *invariant* (`inv_…`) holds of `init` states and is kept by every action; a *lemma* of an action
(`<action>_lemma_…`) holds whenever its guard and the invariants do. All are plain functions: `ringspec prove` proves
them from this source for any number of nodes, versions and messages, and tests evaluate them.

Five invariants are what it is about:

* `inv_dot_uniqueness`: a dot names one version, for ever;
* `inv_only_maximal`: whatever holds or carries versions of the key holds none that another of them supersedes;
* `inv_durable_acknowledgement`: an acknowledgement, under way or counted, stands for a copy on the disk of an owner, or
  of a node that owes it to one; a write that was acknowledged to its client is known to as many owners, and to as many
  of them by their own disks, as its client asked for; but for owners who lost it and have not caught up;
* `inv_due`: of every write that was acknowledged before a get began, as many owners as know it by their own disks have
  told the get of it, if they have told it anything. So a reply whose own owners must meet these knows it: that is
  `reply_lemma_due`. PR + PW > N makes them meet, and R + W > N where nobody stands in for owners (`spec.quorum`);
* `inv_lost`: what an owner lost with its disk it knows again, or another that knows it has still to give it back. So
  one that lacks nothing any more knows it, and counts like any other. Not so what is *gone*: lost when no other owner
  knew it durably, or while another owner who had lost it was catching up. One loss at a time takes nothing that two
  owners said to hold by their own disks (`lose_lemma_spared`).

To *know* a version is to hold it, or one whose writer had seen it. The others support these. The clocks never lie
(`inv_honest`), whole sets travel, so whoever holds a version knows all earlier ones of its actor (`inv_contiguous`),
and a node knows all that it minted itself (`inv_own`): so a context, which covers every counter up to its own, covers
nothing that its reader was not shown.

What there is, is in `state`; actions are in `puts`, `hints` and `gets`, those that nobody asks for in `faults` and
`comeback`; what is claimed is in `invariants` and `lemmas`.
"""

from __future__ import annotations

from spec.protocol import comeback, faults, gets, hints, puts

ACTIONS = (
    puts.put,
    puts.again,
    puts.send,
    puts.receive,
    puts.count,
    puts.acknowledge,
    puts.finish,
    hints.hint,
    hints.hand,
    hints.take,
    hints.release,
    hints.drop,
    gets.ask,
    gets.conclude,
    gets.answer,
    gets.collect,
    gets.reply,
    gets.show,
    gets.push,
    gets.mend,
    gets.agree,
    gets.press,
    gets.confirm,
    gets.vouch,
    gets.relax,
    gets.forget,
    faults.lose_sent,
    faults.lose_pushed,
    faults.lose_ack,
    faults.lose_told,
    faults.lose_handed,
    faults.lose_taken,
    faults.lose_given,
    faults.lose_reply,
    faults.crash,
    comeback.lose,
    comeback.rename,
    comeback.doubt,
    comeback.give,
    comeback.take_back,
    comeback.regain,
    puts.elsewhere,
)
"""Everything that may happen."""
