"""What is proved is what runs: every kernel function that a proof is about is used by `spec.node.step`."""

import types

from checker.prove.callgraph import proved_functions, reachable, unreachable_from, uses
from checker.prove.obligations import Protocol
from spec import laws, protocol, quorum, siblings
from spec.node import step
from spec.siblings import absorb, context_of, supersedes

PROVED = proved_functions(protocol, laws)


def test_every_function_that_is_proved_is_one_that_runs() -> None:
    assert unreachable_from(step, PROVED) == []


def test_the_protocol_rests_on_the_decisions_of_a_node() -> None:
    decisions = {
        "spec.siblings.add",
        "spec.siblings.merge",
        "spec.siblings.supersedes",
        "spec.siblings.is_context",
        "spec.siblings.context_of",
        "spec.quorum.is_quorum",
        "spec.quorum.is_written",
        "spec.writing.may_mint",
        "spec.writing.next_dot",
        "spec.writing.minting_actor",
        "spec.trust.is_whole",
        "spec.trust.lacking_all",
        "spec.trust.is_asked",
        "spec.trust.given_all",
        "spec.clock.covers",
        "spec.clock.join",
    }
    assert decisions <= set(PROVED)


def test_a_function_that_no_node_uses_is_named() -> None:
    """`law_of_nowhere` stands for a law of a kernel function that only a proof calls."""

    def nowhere(a: int) -> int:
        return a

    module = types.ModuleType("spec.nowhere")
    invented = types.FunctionType(nowhere.__code__, vars(module), "nowhere")
    invented.__module__, invented.__qualname__ = "spec.nowhere", "nowhere"
    assert unreachable_from(step, {**PROVED, "spec.nowhere.nowhere": invented}) == ["spec.nowhere.nowhere"]
    assert unreachable_from(quorum.is_read, {"x": quorum.is_written}) == ["x"]


def test_uses_are_calls_and_what_is_passed_on() -> None:
    assert supersedes in uses(siblings.merge)
    assert absorb in uses(context_of)
    assert absorb in reachable([step])


def test_no_guard_or_action_looks_at_claims() -> None:
    """An action that read an invariant would prove itself."""
    own = Protocol(protocol)
    claims = {*own.invariants.values(), *own.libraries.values()}
    for action in own.actions.values():
        assert not claims & reachable([action, own.functions[f"{action.__name__}_ok"]])
