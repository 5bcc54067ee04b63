"""Validation accepts runs of the specification, and names the place of whatever is not one.

Runs come from two drivers: the one in `tests/recorded.py`, in memory and as faulty as one likes, and real servers over
TCP and SQLite. Alterations are made twice: as somebody does who edits a line, and as somebody does who recomputes the
chain after it, so that what re-execution and the clients' logs notice by themselves is known. What only the chain
protects is listed here, and a test fails when the list is too short.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest
from msgspec import structs

import spec.coordinate
import spec.reading
import spec.repair
import spec.requests
import spec.writing
from checker.judge import DEPENDS, EVERY, ONE_ORDER
from checker.logs import NoLogs, Place, Problem
from checker.validate import INVALID, OUR_BUG, USAGE, VALID, Report, examine, validate
from impl.client import StoreError, connect
from impl.recorder import export_log
from spec.clock import NOTHING, Actor, Clock, Dot
from spec.events import Deliver, StorageWrite, WriteRow
from spec.maps import FSet
from spec.messages import Condition, Refused
from spec.properties import CLAIMS
from spec.repair import NOBODY
from spec.siblings import Siblings, Version
from spec.state import Storage
from spec.trace import Step
from spec.types import Config, Key, Limits, NodeId, RequestId
from tests.nodes import running, settings_of
from tests.recorded import Recorded, chained, run, save

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool | None"
Path_: TypeAlias = tuple[str | int, ...]

# Where an altered field changes nothing that anybody could miss; the chain still gives the alteration away.
CHAIN_ONLY = (
    r"(Invoked|Returned):at_ns",  # a moment may have been another one, as long as the order fits
    r"Step/Start:event\.incarnation",  # used only on a new disk
    r"Step/Timeout:event\.request\.#",  # of a timer whose request is over: the firing has no consequence
)


def problem_of(directory: Path, orders: int = 0, *, refine: bool = True) -> Problem | None:
    return examine(directory, orders=orders, refine=refine).problem


def names(problem: Problem | None, place: Place) -> bool:
    return problem is not None and place in problem.places


# What is right is accepted.


@pytest.mark.parametrize("seed", range(12))
def test_runs_in_memory_are_valid(tmp_path: Path, seed: int) -> None:
    save(tmp_path, run(seed, 400).files())
    report = examine(tmp_path)
    assert report.problem is None
    assert report.steps > 100
    assert report.restarts > 0


def test_every_property_is_judged_with_something_at_stake(tmp_path: Path) -> None:
    at_stake: Counter[str] = Counter()
    for seed in range(7):
        limits = Limits(siblings=1 + seed)
        config = Config(n=3, r=2, w=2, sloppy=seed % 2 == 0, partitions=4, tokens=4, limits=limits)
        condition: Condition | None = "context-unchanged" if seed == 6 else None
        save(tmp_path / str(seed), run(seed, 900, keys=1, config=config, condition=condition).files())
        report = examine(tmp_path / str(seed), orders=1)
        assert report.problem is None
        at_stake.update(judged.name for judged in report.properties if judged.at_stake and judged.times)
    assert set(at_stake) == {claim.name for claim in CLAIMS}


def test_the_tables_name_real_claims() -> None:
    real = {claim.name for claim in CLAIMS}
    assert set(DEPENDS) == real
    assert set(EVERY) <= real
    assert real >= ONE_ORDER


async def real_run(directory: Path, operations: int, clients: int) -> None:
    """Servers and clients over TCP; the servers are stopped and started again half-way."""
    config = Config(n=3, r=2, w=2, sloppy=False, partitions=16, tokens=8, put_timeout_ms=2000, get_timeout_ms=2000)
    (directory / "data").mkdir()
    settings = settings_of(directory / "data", "abcde", config, record=True)
    addresses = [str(one.listen) for one in settings.values()]

    async def work(number: int, part: int) -> None:
        random, contexts = Random(number), dict[bytes, str]()
        log = directory / f"client{number}-{part}.ndjson"
        async with await connect(addresses[number:] + addresses[:number], log) as client:
            for i in range(operations):
                key = f"key {random.randrange(5)}".encode()
                try:
                    if random.random() < 0.5:
                        contexts[key] = (await client.get(key)).context
                    else:
                        await client.put(key, f"{number}.{part}.{i}".encode(), contexts.get(key))
                except StoreError:
                    pass

    for part in range(2):
        async with running(*settings.values()):
            await asyncio.gather(*(work(number, part) for number in range(clients)))
    for name in settings:
        lines = export_log(directory / "data" / f"{name}.db")
        (directory / f"{name}.ndjson").write_bytes(b"".join(lines))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("real")
    asyncio.run(real_run(directory, operations=25, clients=3))
    return directory


def test_a_real_run_is_valid(real: Path) -> None:
    report = examine(real)
    assert report.problem is None
    assert (report.nodes, report.clients, report.restarts, report.strangers) == (5, 6, 5, 0)
    assert report.requests == 150
    assert {j.name for j in report.properties if j.at_stake} >= {"no-lost-write", "quorum-meaning-get"}


def test_a_recording_that_began_later_is_valid(tmp_path: Path) -> None:
    """The snapshot is taken at its word, and messages of before count as unmatched."""
    unmatched = 0
    for seed in range(12):
        recorded = run(seed, 300)
        recorded.record_anew()
        for _ in range(300):
            recorded.act()
        save(tmp_path / str(seed), recorded.files())
        report = examine(tmp_path / str(seed))
        assert report.problem is None, seed
        unmatched += report.unmatched
    assert unmatched > 0


# What is altered is found.


def leaves(value: Json, path: Path_ = ()) -> Iterator[tuple[Path_, Json]]:
    """Every leaf of a JSON value; an empty list is one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    else:
        yield path, value


def altered(value: Json, path: Path_) -> Json:
    """Something else in place of a leaf, decodable where that is easy."""
    if isinstance(value, int):
        return value + 1
    if not isinstance(value, str):
        return "x" if value is None else [1]
    if value in ("a", "b", "c", "d"):
        return "abcd"[("abcd".index(value) + 1) % 4]
    if path[-1] in ("key", "value"):
        return b64encode(b64decode(value) + b"x").decode()
    if value.startswith("client"):
        return f"client{(int(value[6]) + 1) % 3}{value[7:]}"
    others = {"Put": "Get", "Found": "Failed", "Failed": "Refused", "SetTimer": "CancelTimer", "Write": "Repair"}
    return others.get(value, value + "x") if path[-1] == "type" else value + "x"


def placed(value: Json, path: Path_, new: Json) -> Json:
    """A JSON value with another leaf."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {name: placed(inner, rest, new) if name == head else inner for name, inner in value.items()}
    assert isinstance(value, list)
    return [placed(inner, rest, new) if i == head else inner for i, inner in enumerate(value)]


def kind_of(entry: dict[str, Json], path: Path_) -> str:
    """The type of a line, of its event, and the path to a leaf, whatever its indices."""
    event = entry.get("event")
    inner = f"/{event['type']}" if isinstance(event, dict) else ""
    return f"{entry['type']}{inner}:" + ".".join("#" if isinstance(part, int) else part for part in path)


def encoded(entry: Json) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def alterations(files: dict[str, list[bytes]], per_kind: int) -> Iterator[tuple[str, int, str, bytes]]:
    """File, index of the line, kind and altered entry: each kind of leaf, and a few of each."""
    met: Counter[str] = Counter()
    for file, entries in files.items():
        for index, text in enumerate(entries):
            entry = json.loads(text)
            for path, leaf in leaves(entry):
                kind = kind_of(entry, path)
                met[kind] += 1
                if met[kind] <= per_kind:
                    yield file, index, kind, encoded(placed(entry, path, altered(leaf, path)))


def names_an_equal_message(files: dict[str, list[bytes]], entry: bytes) -> bool:
    """Whether a step's stamp names a message that was really sent, and is equal to the one received.

    A node that was asked twice answers twice; which of two equal answers came is known by the stamp alone.
    """
    step = json.loads(entry)
    node, epoch, seq, index = step["stamp"]
    for text in files.get(f"{node}.ndjson", []):
        sent = json.loads(text)
        if (sent.get("epoch"), sent.get("seq")) == (epoch, seq) and index < len(sent["effects"]):
            effect = sent["effects"][index]
            return bool((effect.get("target"), effect.get("message")) == (step["node"], step["event"]["message"]))
    return False


def write_lines(file: Path, lines: list[bytes]) -> None:
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def check_alterations(directory: Path, files: dict[str, list[bytes]], per_kind: int) -> int:
    """Every alteration is found: on its very line by the chain, and somewhere near by what the lines say."""
    done = 0
    for file, index, kind, entry in alterations(files, per_kind):
        path, place = directory / file, Place(file, index + 1)
        right = path.read_bytes()
        lines = right.split(b"\n")[:-1]
        chain = lines[index][lines[index].rindex(b',"chain"') :]
        write_lines(path, [*lines[:index], b'{"entry":' + entry + chain, *lines[index + 1 :]])
        problem = problem_of(directory)
        assert problem is not None, (place, kind)
        assert problem.places[0] == place, (place, kind, problem)
        entries = files[file]
        write_lines(path, chained([*entries[:index], entry, *entries[index + 1 :]]))
        problem = problem_of(directory)
        hidden = any(re.fullmatch(only, kind) for only in CHAIN_ONLY)
        if not hidden and not (kind == "Step/Deliver:stamp.#" and names_an_equal_message(files, entry)):
            assert problem is not None, f"{place}: an altered {kind} is not noticed: {entry!r}"
            assert any(near.file == file for near in problem.places), (place, kind, problem)
        path.write_bytes(right)
        done += 1
    return done


def test_an_altered_field_is_named(tmp_path: Path) -> None:
    files = run(14, 400).files()
    save(tmp_path, files)
    assert problem_of(tmp_path) is None
    assert check_alterations(tmp_path, files, per_kind=1) > 150


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(20, 26))
def test_any_altered_field_is_named(tmp_path: Path, seed: int) -> None:
    files = run(seed, 400).files()
    save(tmp_path, files)
    assert check_alterations(tmp_path, files, per_kind=12) > 800


def test_an_altered_field_of_a_real_run_is_named(real: Path, tmp_path: Path) -> None:
    files = {
        file.name: [line[len('{"entry":') : line.rindex(b',"chain"')] for line in file.read_bytes().split(b"\n")[:-1]]
        for file in sorted(real.glob("*.ndjson"))
    }
    save(tmp_path, files)
    assert problem_of(tmp_path) is None
    for file, index, kind, entry in Random(1).sample(list(alterations(files, 3)), 40):
        lines = chained(files[file])
        chain = lines[index][lines[index].rindex(b',"chain"') :]
        write_lines(tmp_path / file, [*lines[:index], b'{"entry":' + entry + chain, *lines[index + 1 :]])
        problem = problem_of(tmp_path)
        assert problem is not None, kind
        assert problem.places[0] == Place(file, index + 1), (kind, problem)
        write_lines(tmp_path / file, lines)


EDITS: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "removed": lambda lines, i: [*lines[:i], *lines[i + 1 :]],
    "repeated": lambda lines, i: [*lines[: i + 1], *lines[i:]],
    "swapped": lambda lines, i: [*lines[:i], *lines[i : i + 2][::-1], *lines[i + 2 :]],
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("rechained", [False, True])
def test_a_moved_line_is_named(tmp_path: Path, edit: str, rechained: bool) -> None:
    """A line removed, repeated or swapped with the next: the chain says where; else the numbers or the end do."""
    files = run(3, 200).files()
    save(tmp_path, files)
    for file, entries in files.items():
        path = tmp_path / file
        right = path.read_bytes()
        for index in range(len(entries) - (edit == "swapped")):
            if rechained:
                write_lines(path, chained(EDITS[edit](entries, index)))
            else:
                write_lines(path, EDITS[edit](right.split(b"\n")[:-1], index))
            problem = problem_of(tmp_path)
            assert problem is not None, (file, index + 1)
            near = [place for place in problem.places if place.file == file]
            assert near, (file, index + 1, problem)
            if not rechained:
                assert any(abs(place.line - index - 1) <= 1 for place in near), (file, index + 1, problem)
        path.write_bytes(right)


def test_a_removed_log_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, run(3, 200).files())
    (tmp_path / "c.ndjson").unlink()
    problem = problem_of(tmp_path)
    assert problem is not None
    assert "the log of node c is missing" in problem.said


@pytest.mark.parametrize("what", ["unknown field", "not JSON", "cut short", "spaces", "empty"])
def test_lines_are_read_strictly(tmp_path: Path, what: str) -> None:
    save(tmp_path, run(3, 100).files())
    path = tmp_path / "b.ndjson"
    lines = path.read_bytes().split(b"\n")[:-1]
    edits = {
        "unknown field": lines[3][:-1] + b',"more":1}',
        "not JSON": b"hello",
        "cut short": lines[3][:-9],
        "spaces": lines[3].replace(b'","', b'", "', 1),
        "empty": b"",
    }
    write_lines(path, [*lines[:3], edits[what], *lines[4:]])
    problem = problem_of(tmp_path)
    assert problem is not None
    assert (problem.rule, problem.places) == ("line", (Place("b.ndjson", 4),))


# What was not received, or not in that order, is found, although each node did what it should.


def test_an_order_that_cannot_be_is_found(tmp_path: Path) -> None:
    """By the clients' clock a get was over before the put that it shows began."""
    recorded = Recorded(1, keys=1)
    for _ in range(2_000):
        recorded.act(faults=False)
    files = recorded.files()
    save(tmp_path, files)
    assert problem_of(tmp_path) is None
    earlier = [
        re.sub(rb'"at_ns":(\d+)', lambda m: b'"at_ns":%d' % (int(m[1]) // 1000), e) for e in files["client0.ndjson"]
    ]
    save(tmp_path, {**files, "client0.ndjson": earlier})
    problem = problem_of(tmp_path)
    assert problem is not None
    assert problem.rule in ("happened-before", "quorum-meaning-get")
    assert len(problem.places) >= 1


# Every property bites: nodes that break it, re-executed by the same broken specification. (Refinement would often be
# the first to bite: see `tests/test_refine_run.py`.)


def keep_newest(_siblings: Siblings, version: Version) -> Siblings:
    return FSet((version,))


def always_first(actor: Actor, _counter: int) -> Dot:
    return Dot(actor, 1)


def overwrite(storage: Storage, key: Key, siblings: Siblings, owed: FSet[NodeId] = NOBODY) -> tuple[StorageWrite, ...]:
    return (WriteRow(key, structs.replace(storage.row(key), siblings=siblings, owed=owed)),)


def keep_all(a: Siblings, b: Siblings) -> Siblings:
    return a | b


def knows_nothing(_siblings: Siblings) -> Clock:
    return NOTHING


def quorum_of_one(nodes: FSet[str], _primaries: object, _quorum: object) -> bool:
    return len(nodes) >= 1


def forgets(_actor: Actor, _row: object, _request: RequestId) -> None:
    """No request was ever given a dot."""


BROKEN = [
    ("exact-discard", [(spec.writing, "add", keep_newest)]),
    ("dot-uniqueness", [(spec.writing, "next_dot", always_first)]),
    ("no-lost-write quorum-meaning-put", [(spec.repair, "store", overwrite)]),
    ("quorum-meaning-put", [(spec.writing, "is_written", quorum_of_one)]),
    ("quorum-meaning-get", [(spec.reading, "is_read", quorum_of_one)]),
    ("only-maximal", [(spec.repair, "merge", keep_all)]),
    ("context-honesty", [(spec.requests, "context_of", knows_nothing)]),
    ("refusal-is-final", [(spec.coordinate, "overdue", lambda *_: Refused("too late"))]),
    ("one-dot-per-request", [(spec.writing, "dot_minted_for", forgets)]),
]


@pytest.mark.parametrize(("properties", "patches"), BROKEN, ids=[name for name, _ in BROKEN])
def test_broken_nodes_break_a_property(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    properties: str,
    patches: list[tuple[object, str, object]],
) -> None:
    for module, name, function in patches:
        monkeypatch.setattr(module, name, function)
    found: Counter[str] = Counter()
    for seed in range(30):
        save(tmp_path / str(seed), run(seed, 500, keys=1).files())
        problem = problem_of(tmp_path / str(seed), orders=1, refine=False)
        if problem is not None:
            assert problem.places
            found[problem.rule] += 1
            if problem.rule in properties.split():
                return
    pytest.fail(f"expected {properties}, found {dict(found)}")


def test_another_specification_is_told_by_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the right specification, re-executed by a wrong one: expected against observed."""
    save(tmp_path, run(5, 300).files())
    monkeypatch.setattr(spec.writing, "is_written", quorum_of_one)
    problem = problem_of(tmp_path)
    assert problem is not None
    assert problem.rule == "step"
    assert any(line.startswith("effects") and "Stored" in line for line in problem.detail), problem.detail


# What the command says.


def test_exit_statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    save(tmp_path / "run", run(2, 200).files())
    assert validate(tmp_path / "run", say=said.append) == VALID
    assert "is a run of the specification" in said[-1]
    assert validate(tmp_path / "nowhere", say=said.append) == USAGE
    (tmp_path / "empty").mkdir()
    assert validate(tmp_path / "empty", say=said.append) == USAGE
    assert "there are no logs" in capsys.readouterr().err
    lines = (tmp_path / "run" / "a.ndjson").read_bytes().split(b"\n")[:-1]
    write_lines(tmp_path / "run" / "a.ndjson", lines[:-1])
    assert validate(tmp_path / "run", say=said.append) == INVALID
    assert "a.ndjson:" in said[-1]
    assert validate(tmp_path / "run", live=True, say=said.append) == VALID
    assert validate(tmp_path / "run", live=True, json=True, say=said.append) == VALID
    assert json.loads(said[-1])["verdict"] == "valid"

    def broken(*_: object, **__: object) -> Report:
        raise AssertionError("ours")

    monkeypatch.setattr("checker.validate.check", broken)
    assert validate(tmp_path / "run", live=True, say=said.append) == OUR_BUG


def test_no_logs_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoLogs, match="no directory"):
        examine(tmp_path / "nowhere")


def test_the_text_shows_expected_and_observed(tmp_path: Path) -> None:
    recorded = run(3, 200)
    log = recorded.logs["a"]
    at = next(i for i, e in enumerate(log) if isinstance(e, Step) and isinstance(e.event, Deliver) and e.effects)
    step = log[at]
    assert isinstance(step, Step)
    log[at] = Step(step.node, step.epoch, step.seq, step.event, step.stamp, step.writes, ())
    save(tmp_path, recorded.files())
    said: list[str] = []
    assert validate(tmp_path, say=said.append) == INVALID
    assert f"a.ndjson:{at + 1}" in said[0]


def test_verdicts_and_counts_repeat(tmp_path: Path) -> None:
    save(tmp_path, run(9, 300).files())
    a, b = examine(tmp_path), examine(tmp_path)
    assert (a.verdict, a.properties) == (b.verdict, b.properties)
