"""Which branches of a specification a check never took.

Every condition of a program compiles to jumps that are taken or not: `if`, `while`, both halves of an `and`, the
conditions of comprehensions and conditional expressions, each `case`, and each `for`, which goes on or is over. While a
check runs, the interpreter reports where each jump of the functions in question leads. From Python 3.12 on it can be
asked for just that (`sys.monitoring`), for each jump until both outcomes were seen, which costs little. Python 3.11
reports every instruction of a function that has outcomes not yet seen, and then a check takes several times as long.

Not counted are `assert` statements, which are there not to fail, what the functions are defined by (decorators,
defaults, class bodies), and functions never entered at all, which are named instead. A branch that is never taken is no
fault: it may belong to faults that the model does not have. But what nobody takes, nobody checks.
"""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

from msgspec import Struct

from checker.machine import A, Machine, NamesSources, S

UNCONDITIONAL = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE", "SEND", "JUMP")
NOT_WRITTEN = ("<module>", "<annotate>", "__annotate__")
Span: TypeAlias = tuple[int, int, int, int]
"""First line, last line, first column, last column."""
Tracer: TypeAlias = Callable[[FrameType, str, Any], Any]  # Any: as `sys.settrace` has it


class Branch(Struct, frozen=True, order=True):
    """One outcome of one condition."""

    file: str
    line: int
    function: str
    condition: str
    """As it is written."""
    outcome: str
    """What it never was: true, false, None, matched, entered (a loop), …, or reached, which is none of these."""
    source: str
    """The line on which it stands."""


class BranchReport(Struct, frozen=True):
    """What a check took of the functions that it could have taken."""

    outcomes: int
    taken: int
    never: tuple[Branch, ...]
    not_entered: tuple[str, ...]
    """Functions, as file:line name."""


class _Jump(Struct, frozen=True):
    """A jump: where its condition stands, where one gets if it is not taken, and what either outcome means."""

    span: Span
    following: frozenset[int]
    jumped: str
    fell: str


class _Watched:
    """A function: its conditions' outcomes, and those not seen so far."""

    def __init__(self, code: CodeType, file: _File) -> None:
        self.code, self.file = code, file
        self.entered = False
        self.jumps: dict[int, _Jump] = dict(_jumps(code, file))
        self.missing = {(offset, jumped) for offset in self.jumps for jumped in (False, True)}

    def goes(self, jump: int, destination: int) -> None:
        """From a jump it went there."""
        self.missing.discard((jump, destination not in self.jumps[jump].following))

    def tracer(self) -> Tracer:
        """A local trace function for one call of it."""
        last, jumps = -1, self.jumps

        def trace(frame: FrameType, event: str, _arg: object) -> Any:  # Any: as `sys.settrace` has it
            nonlocal last
            if event == "opcode":
                here = frame.f_lasti
                if last >= 0:
                    self.goes(last, here)
                last = here if here in jumps else -1
            return trace

        return trace


class _File:
    """A source file: its text, and where it asserts."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path, self.shown = path, shown
        self.text = path.read_text()
        self.lines = self.text.splitlines()
        self.asserts = [
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(ast.parse(self.text))
            if isinstance(node, ast.Assert)
        ]

    def functions(self) -> Iterator[CodeType]:
        """The code of every function, nested ones too."""
        waiting = [compile(self.text, str(self.path), "exec", dont_inherit=True)]
        for code in waiting:  # which grows as we go
            waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
            if code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in NOT_WRITTEN:
                yield code

    def segment(self, span: Span) -> str:
        """What is written there, in one line."""
        first, last, start, end = span
        lines = [line.encode() for line in self.lines[first - 1 : last]]  # columns are counted in bytes
        lines[-1] = lines[-1][:end]
        lines[0] = lines[0][start:]
        return " ".join(b" ".join(lines).decode().split())


def sources_of(machine: Machine[S, A]) -> list[Path]:
    """The files whose functions decide what the machine does: those that it names, or that of its class."""
    if isinstance(machine, NamesSources):
        return list(machine.sources)
    file = inspect.getsourcefile(type(machine))
    return [] if file is None else [Path(file)]


def tell_branches(report: BranchReport) -> str:
    """The report for people."""
    lines = [f"  {report.taken:,} of {report.outcomes:,} outcomes of conditions came up"]
    for branch in report.never:
        what = f"`{branch.condition}` was never {branch.outcome}"
        lines += [f"  {branch.file}:{branch.line}  {branch.function}: {what}", f"      {branch.source}"]
    lines += [f"  {name} was never entered" for name in report.not_entered]
    return "\n".join(lines)


class Watch:
    """Watches the functions of some files; use `watching` around what is to be watched."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Any number of source files."""
        self.watched: dict[CodeType, _Watched] = {}
        for path in sorted(files):
            file = _File(path, f"{path.parent.name}/{path.name}")
            self.watched.update({code: _Watched(code, file) for code in file.functions()})
        self.names = frozenset(watched.file.path.name for watched in self.watched.values())
        self.met: dict[int, tuple[CodeType, _Watched | None]] = {}  # by identity: comparing code is slow

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what runs inside, in this thread."""
        if sys.version_info >= (3, 12):
            with _monitored(self.enters, self.branches):
                yield
        else:
            with _traced(self.enter):
                yield

    def enters(self, code: CodeType, _offset: int) -> None:
        """A function is called."""
        if (watched := self.watched_as(code)) is not None:
            watched.entered = True

    def branches(self, code: CodeType, offset: int, destination: int) -> bool:
        """A jump leads somewhere; whether to hear of it again."""
        watched = self.watched_as(code)
        if watched is None or offset not in watched.jumps:
            return False
        watched.goes(offset, destination)
        return (offset, True) in watched.missing or (offset, False) in watched.missing

    def watched_as(self, code: CodeType) -> _Watched | None:
        """What is known of a function, if it is of one of the files."""
        found = self.met.get(id(code))
        if found is None:
            found = self.met[id(code)] = code, self.watched.get(code)
        return found[1]

    def enter(self, frame: FrameType, _event: str, _arg: object) -> Any:  # Any: as `sys.settrace` has it
        """A function is called: watch it if it has outcomes that were not seen."""
        watched = self.watched_as(frame.f_code)
        if watched is None:
            return None
        watched.entered = True
        if not watched.missing:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return watched.tracer()

    def report(self) -> BranchReport:
        """What was seen. The same condition may have been compiled more than once: taken once is taken."""
        outcomes: dict[tuple[_Watched, Span], dict[str, bool]] = {}
        for watched in self.watched.values():
            if watched.entered:
                for offset, jump in watched.jumps.items():
                    known = outcomes.setdefault((watched, jump.span), {})
                    for jumped, outcome in ((True, jump.jumped), (False, jump.fell)):
                        known[outcome] = known.get(outcome, False) or (offset, jumped) not in watched.missing
        never: list[Branch] = []
        for (watched, span), taken in outcomes.items():
            missed = [outcome for outcome, was_taken in taken.items() if not was_taken]
            missed = missed if len(missed) < len(taken) else ["reached"]
            never += [_branch(watched, span, outcome) for outcome in missed]
        entered = {w.file.shown for w in self.watched.values() if w.entered}
        others = [w for w in self.watched.values() if not w.entered and w.file.shown in entered]
        outside = [w for w in others if not _is_inner(w.code)]
        return BranchReport(
            outcomes=sum(map(len, outcomes.values())),
            taken=sum(sum(taken.values()) for taken in outcomes.values()),
            never=tuple(sorted(never)),
            not_entered=tuple(
                f"{w.file.shown}:{w.code.co_firstlineno} {w.code.co_qualname}"
                for w in sorted(outside, key=lambda w: (w.file.shown, w.code.co_firstlineno))
            ),
        )


@contextmanager
def _traced(enter: Tracer) -> Iterator[None]:
    """Call `enter` for every function that is called inside."""
    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


if sys.version_info >= (3, 12):

    @contextmanager
    def _monitored(
        enters: Callable[[CodeType, int], None], branches: Callable[[CodeType, int, int], bool]
    ) -> Iterator[None]:
        """Report each function that is called inside once, and jumps for as long as `branches` wants to hear of one."""
        monitoring = sys.monitoring
        tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
        monitoring.use_tool_id(tool, "ringspec")

        def started(code: CodeType, offset: int) -> object:
            enters(code, offset)
            return monitoring.DISABLE

        def branched(code: CodeType, offset: int, destination: int) -> object:
            return None if branches(code, offset, destination) else monitoring.DISABLE

        events = monitoring.events
        monitoring.register_callback(tool, events.PY_START, started)
        monitoring.register_callback(tool, events.BRANCH, branched)
        monitoring.restart_events()
        monitoring.set_events(tool, events.PY_START | events.BRANCH)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)


def _is_inner(code: CodeType) -> bool:
    return "<" in code.co_qualname


def _branch(watched: _Watched, span: Span, outcome: str) -> Branch:
    file = watched.file
    name = watched.code.co_qualname.split(".<locals>")[0]
    line, text = file.lines[span[0] - 1].strip(), file.segment(span)
    if text.startswith("for ") or line.endswith(f" in {text}:"):  # a loop's place is all of it, or what it goes through
        text = line.rstrip(":")
    return Branch(file.shown, span[0], name, text, outcome, line)


def _jumps(code: CodeType, file: _File) -> Iterator[tuple[int, _Jump]]:
    """Every jump that may or may not be taken, by its offset."""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")]
    for index, jump in enumerate(instructions[:-1]):
        if jump.opcode not in dis.hasjrel + dis.hasjabs or jump.opname in UNCONDITIONAL or index == 0:
            continue
        # What computed the value: its place is that of the condition, in every version of Python.
        asked = next(i for i in reversed(instructions[:index]) if i.opname not in ("COPY", "TO_BOOL"))
        span = _span(asked)
        if span is None or any(first <= span[0] <= last for first, last in file.asserts):
            continue
        is_pattern = any(i.opname.startswith("MATCH_") for i in instructions[max(index - 3, 0) : index])
        following = [instructions[index + 1].offset]
        if instructions[index + 1].opname == "NOT_TAKEN":
            following.append(instructions[index + 2].offset)
        yield jump.offset, _Jump(span, frozenset(following), *_meanings(jump.opname, is_pattern))


def _span(instruction: dis.Instruction) -> Span | None:
    """Where it stands in the source, if that is known."""
    p = instruction.positions
    if p is None or p.lineno is None or p.end_lineno is None or p.col_offset is None or p.end_col_offset is None:
        return None
    return p.lineno, p.end_lineno, p.col_offset, p.end_col_offset


def _meanings(opname: str, is_pattern: bool) -> tuple[str, str]:
    """What it means that a jump is taken, and that it is not."""
    if opname == "FOR_ITER":
        return "exhausted", "entered"
    if "NONE" in opname:
        yes, no = ("unmatched", "matched") if is_pattern else ("None", "not None")
        return (no, yes) if "NOT_NONE" in opname else (yes, no)
    yes, no = ("matched", "unmatched") if is_pattern else ("true", "false")
    return (yes, no) if "TRUE" in opname else (no, yes)
