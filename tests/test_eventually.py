"""What must happen in the end under sloppy placement, on every fair run of small worlds, and what breaks it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from checker.check import HOLDS, VIOLATED, check
from checker.eventually import ENDURING, Enduring
from checker.liveness import check_liveness
from checker.liveness_report import liveness
from checker.replay import replay
from impl.local import open_cluster
from impl.storage import open_storage
from spec.ring import Member, build_ring, owners_of
from spec.types import Config, Key, Value
from tests.test_zones import suspect_all

LARGE = ("hints-drain-restless", "converge-crash-sloppy", "always-writable")
QUICK = tuple(name for name in ENDURING if name not in LARGE)
MUST_FAIL = {name: about.partition("must fail: ")[2].rstrip(")") for name, (about, _) in ENDURING.items()}


def made(name: str) -> Enduring:
    """The machine of a model."""
    machine = ENDURING[name][1]()
    assert isinstance(machine, Enduring)
    return machine


@pytest.mark.parametrize("name", [name for name in QUICK if not MUST_FAIL[name]])
def test_small_worlds_keep_what_they_promise_in_the_end(name: str) -> None:
    """All states, safe too, and all fair runs."""
    assert check(ENDURING, name) == HOLDS


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", LARGE)
def test_larger_worlds_keep_what_they_promise_in_the_end(name: str) -> None:
    """Of four nodes: any number of suspicions, a suspicion and a crash, and three of the four gone."""
    assert check(ENDURING, name) == HOLDS


@pytest.mark.parametrize("name", [name for name in QUICK if MUST_FAIL[name]])
def test_each_condition_is_needed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it there is a fair run against the claim, which replays."""
    run = tmp_path / "run.itf.json"
    assert liveness(ENDURING, name, json=True, out=run) == VIOLATED
    failed = [claim for claim in json.loads(capsys.readouterr().out)["claims"] if claim["standing"] == "violated"]
    assert MUST_FAIL[name] in [claim["name"] for claim in failed]
    assert all(claim["stem"] for claim in failed)
    assert replay(ENDURING, run) == HOLDS


def test_a_weakly_fair_hand_over_is_put_off_by_suspicion_for_ever() -> None:
    """The run goes round: it is suspected, and trusted, and suspected before anything is handed over."""
    machine = made("hints-drain-weakly")
    drains = check_liveness(machine).claims[0]
    assert drains.lasso is not None
    assert drains.lasso.cycle
    assert {type(step.action).__name__ for step in drains.lasso.cycle} == {"Suspect"}


def test_what_is_claimed_at_all() -> None:
    """The three claims of the module's first lines are each held by some world, and each fails in another."""
    held = {
        claim.name.partition("-client")[0] for name in QUICK if not MUST_FAIL[name] for claim in made(name).liveness
    }
    failing = {claim.partition("-client")[0] for claim in MUST_FAIL.values() if claim}
    assert held == failing == {"hints-drain", "convergence", "always-writable"}


def test_the_restless_spend_nothing() -> None:
    """After any number of suspicions one more is possible."""
    machine = made("hints-drain-restless-three")
    state = next(iter(machine.initial()))
    for action in list(machine.actions(state)):
        after = machine.step(state, action)
        assert after.faults == state.faults


def test_the_last_of_four_processes_takes_every_put_and_hands_it_over(tmp_path: Path) -> None:
    """The three claims on real nodes: every put succeeds at who is left, and in the end the owners have it, alone."""
    config = Config(n=3, r=1, w=1, partitions=16, tokens=8)
    keys = [Key(b"key-%d" % number) for number in range(40)]

    async def main() -> None:
        async with open_cluster(tmp_path / "cluster", "abcd", config) as cluster:
            for name in "abc":
                await cluster.kill(name)
            await suspect_all(cluster, "abc")
            async with await cluster.client("d", attempts=1) as last:
                for key in keys:
                    await last.put(key, key)
            await cluster.start("a", "b", "c")
            for name in cluster.nodes:
                async with await cluster.client(name) as client:
                    while any(peer.owed for peer in (await client.status()).peers):
                        await asyncio.sleep(0.05)
            await cluster.stop()
        ring = build_ring(tuple(Member(name) for name in cluster.nodes), config)
        for name in cluster.nodes:
            storage = open_storage(cluster.data(name))
            held = {key: [version.value for version in row.siblings] for key, row in storage.rows()}
            storage.close()
            assert held == {key: [Value(key)] for key in keys if name in owners_of(ring, key, config.n)}

    asyncio.run(main())
