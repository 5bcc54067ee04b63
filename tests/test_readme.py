"""Every command in README.md is run and its output compared with what the README shows.

How to write a README for this. Commands stand in fenced blocks marked `console`:

    ```console
    $ ringspec check --list
    two-phase-commit    …
    ```

- A line that starts with `$ ` is a command; one that ends in a backslash goes on in the next line. The lines below it,
  up to the next command, are its output, standard error included.
- The commands of a block run in one shell, so `cd`, variables and jobs started with `&` last until the block ends;
  then whatever still runs is stopped. A block marked `console continued` goes on in the shell of the block before.
- That shell starts in an empty directory that holds a copy of `traces/` and a link to `.venv`, with `ringspec` on its
  path, no terminal and no input.
- Every command must succeed. For one that is meant to fail, show the reader so: `ringspec …; echo "exit status $?"`.
- `console slow` is run by `make deep` instead of `make test`.
- `console norun` is for what cannot be run from inside (`git clone …`, `cd …`, `source …`, `make TARGET`). It shows no
  output, since nobody would compare it, and each target must exist in the Makefile.

How output is compared. `…` stands for anything within a line, a line of only `…` for any lines, none included. What is
measured, a number with a unit of time, rate or size, equals any other with a unit of the same kind: `1.3 s` equals
`250 ms`. Runs of spaces and spaces at the end of a line do not count. Everything else must be equal, counts included.
A command with no output shown must print nothing.
"""

import difflib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SECONDS = 240  # for one session; pytest-timeout would only say that something hung, this says which command
SLOW_SECONDS = 1500
SECONDS_TO_STOP = 10.0

FLAGS = {"continued", "slow", "norun"}
SHELL_LANGUAGES = {"bash", "sh", "shell", "zsh", "shell-session"}
NORUN = ("git clone ", "cd ", "source ", "make ")


class BadReadme(Exception):
    """The README cannot be read as described above; says where and why."""


class Command(NamedTuple):
    """One command with the output shown for it, line by line."""

    line: int
    text: str
    shown: tuple[str, ...]


class Block(NamedTuple):
    flags: frozenset[str]
    commands: tuple[Command, ...]


class Session(NamedTuple):
    """The blocks that share a shell: one, and those that continue it."""

    slow: bool
    commands: tuple[Command, ...]


class Observed(NamedTuple):
    """What a command printed, and its exit status: None if it did not end."""

    status: int | None
    output: str


# Reading.


def blocks(text: str) -> list[Block]:
    """The console blocks of a README; raises BadReadme for what would silently not be run."""
    found: list[Block] = []
    fence: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is None:
            if line.lstrip().startswith("```"):
                fence = (number, line.strip().removeprefix("```").strip(), [])
            elif line.startswith("$ "):
                raise BadReadme(f"line {number}: a command outside of a console block is not run")
        elif line.strip() == "```":
            found += read_fence(*fence)
            fence = None
        else:
            fence[2].append(line)
    if fence is not None:
        raise BadReadme(f"line {fence[0]}: this block is not closed")
    return found


def read_fence(number: int, info: str, lines: list[str]) -> list[Block]:
    """The block of one fence, or none if its language is not of commands."""
    language, *words = info.split() or [""]
    if language != "console":
        if language in SHELL_LANGUAGES or any(line.startswith("$ ") for line in lines):
            raise BadReadme(f"line {number}: commands stand in blocks marked console, or they are not run")
        return []
    if not set(words) <= FLAGS:
        raise BadReadme(f"line {number}: a console block is {' or '.join(sorted(FLAGS))}, not {' '.join(words)!r}")
    return [Block(frozenset(words), tuple(read_commands(number, lines)))]


def read_commands(number: int, lines: list[str]) -> list[Command]:
    """Commands with their output; `number` is the line of the fence above the first of `lines`."""
    commands: list[Command] = []
    goes_on = False
    for at, line in enumerate(lines, number + 1):
        if goes_on:
            last = commands.pop()
            commands.append(last._replace(text=f"{last.text}\n{line}"))
        elif line.startswith("$ "):
            commands.append(Command(at, line.removeprefix("$ "), ()))
        elif not commands:
            raise BadReadme(f"line {at}: a console block starts with a command")
        else:
            last = commands.pop()
            commands.append(last._replace(shown=(*last.shown, line)))
        goes_on = commands[-1].text.endswith("\\") and not commands[-1].shown
    if not commands or goes_on:
        raise BadReadme(f"line {number}: a console block holds whole commands")
    return commands


def sessions(found: list[Block]) -> list[Session]:
    """What to run: the blocks that are not norun, each with those that continue it."""
    made: list[Session] = []
    for block in found:
        slow = "slow" in block.flags
        if "norun" in block.flags:
            if len(block.flags) > 1:
                raise BadReadme(f"line {block.commands[0].line}: what is not run is neither slow nor continued")
        elif "continued" not in block.flags:
            made.append(Session(slow, block.commands))
        elif not made:
            raise BadReadme(f"line {block.commands[0].line}: there is no block to continue")
        else:
            last = made.pop()
            made.append(Session(last.slow or slow, last.commands + block.commands))
    return made


def wrong_norun(found: list[Block], targets: set[str]) -> list[str]:
    """What stands in norun blocks and could have been run, or would not work, or shows what nobody compares."""
    complaints = []
    for command in (command for block in found if "norun" in block.flags for command in block.commands):
        if command.shown:
            complaints.append(f"line {command.line}: output shown that nobody compares")
        if not command.text.startswith(NORUN) or re.search(r"[;&|\n`]|\$\(", command.text):
            complaints.append(f"line {command.line}: {command.text!r} can be run")
        elif command.text.startswith("make "):
            words = [word for word in shlex.split(command.text)[1:] if "=" not in word]
            complaints += [f"line {command.line}: no make target {word}" for word in words if word not in targets]
    return complaints


def make_targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z]+):(?!=)", makefile, re.MULTILINE))


# Comparing.

NUMBER = r"(?<![\w.])\d[\d,_]*(?:\.\d+)?"
MEASURED = {
    "<rate>": re.compile(NUMBER + r"[kM]? ?(?:[a-z]+ )?[A-Za-z]+/s(?![\w/])"),
    "<size>": re.compile(NUMBER + r" ?(?:[kKMG]i?)?B(?![\w/])"),
    "<time>": re.compile(NUMBER + r" ?(?:ns|µs|us|ms|s|min|h)(?![\w/])"),
}


def normalise(line: str) -> str:
    """The line with what is measured replaced by its kind, and with single spaces."""
    for kind, measured in MEASURED.items():
        line = measured.sub(kind, line)
    return re.sub(r"\s+", " ", line).rstrip()


def pattern(shown: tuple[str, ...]) -> str:
    """A regular expression for the whole of an output, each line with its newline."""
    lines = []
    for line in shown:
        if line.strip() == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(re.escape(part) for part in normalise(line).split("…")) + r"\n")
    return "".join(lines)


def matches(shown: tuple[str, ...], output: str) -> bool:
    lines = [normalise(line) for line in output.splitlines()]
    return re.fullmatch(pattern(shown), "".join(f"{line}\n" for line in lines)) is not None


def complaint(command: Command, observed: Observed) -> str | None:
    """Why the README is wrong about this command, or None if it is right."""
    where = f"README.md:{command.line}: $ {command.text}"
    if observed.status is None:
        return f"{where}\ndid not end; so far:\n{observed.output}"
    if observed.status != 0:
        return f"{where}\nended with status {observed.status}:\n{observed.output}"
    if not matches(command.shown, observed.output):
        difference = difflib.unified_diff(command.shown, observed.output.splitlines(), "shown", "printed", lineterm="")
        return "\n".join([where, *difference])
    return None


# Running.


def run(
    session: Session, home: Path, seconds: float = SECONDS, files: Mapping[str, str] = MappingProxyType({})
) -> list[Observed]:
    """Run the commands of a session in one shell that starts in `home/at`; stop whatever is left of it afterwards.

    `files` are there from the beginning, by name.
    """
    at, notes = home / "at", home / "notes"
    at.mkdir()
    notes.mkdir()
    for name, text in files.items():
        (at / name).write_text(text)
    if (ROOT / "traces").is_dir():
        shutil.copytree(ROOT / "traces", at / "traces")
    (at / ".venv").symlink_to(sys.prefix)
    # Output goes to files, not pipes: a job in the background would keep a pipe open after the shell has ended.
    script = "\n".join(
        f'{{ {command.text}\n}} >"$NOTES/{n}.out" 2>&1; echo $? >"$NOTES/{n}.status"'
        for n, command in enumerate(session.commands)
    )
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(at),
        "NOTES": str(notes),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "TERM": "dumb",
        "NO_COLOR": "1",
    }
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=at, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        shell.wait(seconds)
    except subprocess.TimeoutExpired:
        pass  # the command without a status tells
    finally:
        observed = [observe(notes, n) for n in range(len(session.commands))]
        stop(shell)
    return observed


def observe(notes: Path, n: int) -> Observed:
    output, status = notes / f"{n}.out", notes / f"{n}.status"
    return Observed(
        int(status.read_text()) if status.exists() and status.read_text() else None,
        output.read_text(errors="replace") if output.exists() else "",
    )


def stop(shell: "subprocess.Popen[bytes]") -> None:
    """End every process of the shell's group: politely, so that nodes can close, and then by force."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + SECONDS_TO_STOP
        group_lives = signalled(shell, sign)
        while group_lives and time.monotonic() < end:
            time.sleep(0.01)
            group_lives = signalled(shell, 0)
    shell.wait()


def signalled(shell: "subprocess.Popen[bytes]", sign: int) -> bool:
    """Whether there was still a process in the shell's group to send `sign` to; 0 only asks."""
    shell.poll()
    try:
        os.killpg(shell.pid, sign)
    except ProcessLookupError:
        return False
    return True


def complaints(
    session: Session, home: Path, seconds: float = SECONDS, files: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    pairs = zip(session.commands, run(session, home, seconds, files), strict=True)
    return [said for command, observed in pairs if (said := complaint(command, observed)) is not None]


# README.md itself.

TEXT = README.read_text() if README.exists() else ""
try:
    SESSIONS = sessions(blocks(TEXT))
except BadReadme:
    SESSIONS = []  # test_readme_can_be_read says what is wrong


def test_readme_can_be_read() -> None:
    assert README.exists(), "there is no README.md"
    found = blocks(TEXT)
    assert sessions(found), "README.md shows no command that can be run"
    assert wrong_norun(found, make_targets((ROOT / "Makefile").read_text())) == []


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(
            session,
            id=f"line-{session.commands[0].line}",
            marks=[pytest.mark.deep, pytest.mark.timeout(SLOW_SECONDS + 60)] if session.slow else [],
        )
        for session in SESSIONS
    ],
)
def test_readme_tells_the_truth(session: Session, tmp_path: Path) -> None:
    said = complaints(session, tmp_path, SLOW_SECONDS if session.slow else SECONDS)
    assert not said, "\n\n".join(said)


# The harness, shown right and wrong READMEs.


def console(*lines: str, flags: str = "") -> str:
    return "\n".join([f"```console {flags}".rstrip(), *lines, "```", ""])


def judge(text: str, home: Path, seconds: float = SECONDS) -> list[str]:
    home.mkdir(exist_ok=True)
    return [
        said
        for n, session in enumerate(sessions(blocks(text)))
        for said in complaints(session, make_directory(home / str(n)), seconds)
    ]


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


RIGHT = {
    "plain": console("$ echo hello", "hello"),
    "two commands": console("$ echo a", "a", "$ echo b", "b"),
    "standard error": console("$ echo oops >&2", "oops"),
    "status shown": console('$ false; echo "exit status $?"', "exit status 1"),
    "shared shell": console("$ mkdir d && cd d", "$ X=1", '$ basename "$PWD"; echo $X', "d", "1"),
    "continued": console("$ X=5; touch f") + "prose\n" + console("$ echo $X; ls f", "5", "f", flags="continued"),
    "goes on": console("$ echo a \\", "    b", "a b"),
    "within a line": console("$ echo port 4711 open", "port … open"),
    "any lines": console("$ seq 5", "1", "…", "5"),
    "no lines": console("$ seq 2", "1", "…", "2"),
    "durations": console("$ echo took 250 ms, 8,832 states", "took  1.3 s, 8,832 states"),
    "rates": console("$ echo 33k states/s 12.5 MiB", "110,000 states/s 3 KiB"),
    "silence": console("$ true"),
    "python on the path": console("$ which python | grep -c bin", "1"),
    "no input": console("$ cat"),
    "another language": "```python\nx = 1\n```\n" + console("$ echo a", "a"),
}

WRONG = {
    "other output": console("$ echo hello", "goodbye"),
    "missing line": console("$ seq 3", "1", "2"),
    "line too many": console("$ seq 2", "1", "2", "3"),
    "another count": console("$ echo 296,449 states in 2 s", "296,448 states in 2 s"),
    "another kind": console("$ echo 3 MiB", "3 s"),
    "a part only": console("$ echo port 4711 shut", "port … open"),
    "anything but no line": console("$ true", "x …"),
    "failure": console("$ echo hello; false", "hello"),
    "unknown command": console("$ no-such-command-here", "…"),
    "hidden output": console("$ echo hello"),
    "first of two": console("$ echo a", "b", "$ echo c", "c"),
    "shell left": console("$ exit 0", "$ echo never", "never"),
    "not shared": console("$ X=5") + console("$ echo $X", "5"),
}

UNREADABLE = {
    "open fence": "```console\n$ true\n",
    "unknown flag": console("$ true", flags="quick"),
    "wrong language": "```bash\nringspec demo\n```\n",
    "no language": "```\n$ ringspec demo\n```\n",
    "no fence": "Run this:\n\n$ ringspec demo\n",
    "output first": console("hello", "$ echo hello"),
    "empty": console(),
    "half a command": console("$ echo \\"),
    "continues nothing": console("$ true", flags="continued"),
    "not run, but slow": console("$ make demo", flags="norun slow"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_readme_passes(name: str, tmp_path: Path) -> None:
    assert judge(RIGHT[name], tmp_path) == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_readme_fails(name: str, tmp_path: Path) -> None:
    assert len(judge(WRONG[name], tmp_path)) >= 1


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_readme_is_refused(name: str) -> None:
    with pytest.raises(BadReadme, match=r"^line \d+: "):
        sessions(blocks(UNREADABLE[name]))


def test_a_readme_without_commands_has_nothing_to_run() -> None:
    assert sessions(blocks("# Title\n" + console("$ make demo", flags="norun"))) == []


def test_slow_sessions_are_told_apart() -> None:
    text = console("$ true") + console("$ sleep 0") + console("$ ringspec prove", flags="continued slow")
    assert [(session.slow, len(session.commands)) for session in sessions(blocks(text))] == [(False, 1), (True, 2)]


def test_a_command_that_hangs_is_named(tmp_path: Path) -> None:
    (said,) = judge(console("$ echo a", "a", "$ sleep 60"), tmp_path, seconds=0.5)
    assert said.startswith("README.md:4: $ sleep 60\ndid not end")


def test_jobs_are_stopped_with_their_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_readme.SECONDS_TO_STOP", 0.3)
    deaf = """$ (trap '' TERM; echo $BASHPID > "$NOTES/job"; while true; do sleep 0.1; done) &"""
    assert judge(console(deaf, '$ until [ -s "$NOTES/job" ]; do sleep 0.01; done'), tmp_path) == []
    job = int((tmp_path / "0" / "notes" / "job").read_text())
    assert ends(job)


def ends(process: int) -> bool:
    """Whether the system forgets the process soon: it remembers an orphan until its first process took note."""
    for _ in range(500):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("command", "shown", "complaint"),
    [
        ("make demo", (), None),
        ("make setup PYTHON=python3.12", (), None),
        ("git clone ADDRESS ringspec", (), None),
        ("cd ringspec", (), None),
        ("make dmo", (), "no make target dmo"),
        ("make demo", ("done",), "nobody compares"),
        ("ringspec demo", (), "can be run"),
        ("cd ringspec && ringspec demo", (), "can be run"),
    ],
)
def test_what_is_not_run_is_checked(command: str, shown: tuple[str, ...], complaint: str | None) -> None:
    text = console(f"$ {command}", *shown, flags="norun")
    said = wrong_norun(blocks(text), make_targets("demo: setup ## run\n\t@x\nsetup: ## y\nPIP := z\n"))
    assert [complaint in one for one in said] == [True] if complaint else said == []
