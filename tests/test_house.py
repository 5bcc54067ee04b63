"""The house rules that no tool checks: docstrings, names, pins and the lock, and what lies at the top of the tree.

Each rule is a function from what it reads to a list of complaints, so that the tests can also feed it what is wrong.
"""

import ast
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent

CHOSEN = {"pyproject.toml", "README.md", "spec", "impl", "checker", "tests", "traces"}
FOR_TOOLS = {"Makefile", ".ci", ".gitignore", "requirements.lock", "LICENSE", "CHANGELOG.md"}
TEST_FOLDERS = {"tests", "tests/machines", "tests/bench"}
# Folders of one machine, put together here so that this file does not name them itself.
ELSEWHERE = ("/" + "work/", "shared" + "/")
# What may never leave a machine in a file that installs something.
INSTALLERS = ("Makefile", "requirements.lock", ".ci/run")


def project_files() -> list[str]:
    """Every file of the project, committed or about to be: what git knows of and does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


FILES = project_files()


def without_docstring(path: str, source: str) -> list[str]:
    return [] if ast.get_docstring(ast.parse(source, path)) else [f"{path}: a module opens with what it is about"]


def strangers(paths: Iterable[str]) -> list[str]:
    """Top-level entries that nobody decided on."""
    return sorted({path.partition("/")[0] for path in paths} - CHOSEN - FOR_TOOLS)


def misplaced_tests(paths: Iterable[str]) -> list[str]:
    """Tests outside their three folders, and test modules whose name another one has."""
    python = [PurePosixPath(path) for path in paths if path.startswith("tests/") and path.endswith(".py")]
    deep = [f"{path}: tests lie flat" for path in python if str(path.parent) not in TEST_FOLDERS]
    names = Counter(path.name for path in python if path.name != "__init__.py")
    return deep + [f"{name}: {count} tests have this name" for name, count in names.items() if count > 1]


def places_named(path: str, text: str) -> list[str]:
    return [
        f"{path}:{number}: names {place}"
        for number, line in enumerate(text.splitlines(), 1)
        for place in ELSEWHERE
        if place in line
    ]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(pyproject: str) -> dict[str, str]:
    """Name to exact version, over everything that pyproject asks for; refuses a range."""
    data = tomllib.loads(pyproject)
    project = data["project"]
    asked = [*data["build-system"]["requires"], *project["dependencies"]]
    asked += [one for extra in project["optional-dependencies"].values() for one in extra]
    found: dict[str, str] = {}
    for requirement in asked:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;*]+)(\s*;.*)?", requirement)
        assert match, f"{requirement!r} is not one exact version"
        name, version = normalised(match[1]), match[2]
        assert found.setdefault(name, version) == version, f"{name} is pinned to both {found[name]} and {version}"
    return found


def locked(lock: str) -> dict[str, str]:
    """Name to version of every entry of the lock; refuses an entry without a hash."""
    entries = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)[^\n]*\n((?:[ ]+[^\n]*\n?)*)", lock, re.MULTILINE)
    for name, _, rest in entries:
        assert "--hash=sha256:" in rest, f"{name} has no hash"
    return {normalised(name): version for name, version, _ in entries}


def unlocked(pyproject: str, lock: str) -> list[str]:
    have = locked(lock)
    return [f"{name}=={version}" for name, version in pins(pyproject).items() if have.get(name) != version]


def without_reason(pyproject: str) -> list[str]:
    """Pins of libraries with no word beside them on why they are there."""
    lines = [line for line in pyproject.splitlines() if "==" in line and not line.startswith("requires = ")]
    return [line.strip() for line in lines if not re.search(r'"[^"#]*==[^"]*".*# \S', line)]


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".py")])
def test_module_has_a_docstring(path: str) -> None:
    assert without_docstring(path, (ROOT / path).read_text()) == []


def test_top_of_the_tree() -> None:
    assert strangers(FILES) == []


def test_tests_lie_flat_under_unique_names() -> None:
    assert misplaced_tests(FILES) == []


def test_no_file_names_a_place_outside_the_project() -> None:
    texts = {path: (ROOT / path).read_bytes().decode(errors="replace") for path in FILES}
    assert [said for path, text in texts.items() for said in places_named(path, text)] == []


def test_every_pin_is_locked() -> None:
    assert unlocked((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text()) == []


def test_every_pin_has_its_reason() -> None:
    assert without_reason((ROOT / "pyproject.toml").read_text()) == []


@pytest.mark.parametrize("path", INSTALLERS)
def test_what_installs_names_no_host(path: str) -> None:
    assert "://" not in (ROOT / path).read_text()


def test_console_script_and_import_packages_exist() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert data["project"]["scripts"] == {"ringspec": "impl.cli:main"}
    for package in data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert (ROOT / package / "__init__.py").is_file()
        assert (ROOT / package / "py.typed").is_file()


# Each rule, shown what is wrong.

PYPROJECT = """
[build-system]
requires = ["hatchling==1.0"]
[project]
dependencies = [
    "msg_spec==2.0",  # types
]
[project.optional-dependencies]
dev = ["hatchling==1.0"] # the build backend
"""
LOCK = """
hatchling==1.0 \\
    --hash=sha256:00
msg-spec==2.0 ; python_version > '3' \\
    --hash=sha256:11 \\
    --hash=sha256:22
    # via x
"""


def test_a_missing_docstring_is_caught() -> None:
    assert without_docstring("spec/x.py", "# only a comment\nx = 1")
    assert without_docstring("spec/x.py", "")
    assert not without_docstring("spec/x.py", '"""Theory."""')


def test_a_stranger_is_caught() -> None:
    assert strangers(["README.md", "spec/x.py", "scratch/y.py", "notes.txt"]) == ["notes.txt", "scratch"]


def test_a_misplaced_test_is_caught() -> None:
    right = ["tests/test_x.py", "tests/bench/__init__.py", "tests/machines/__init__.py", "tests/bench/bench_x.py"]
    assert misplaced_tests(right) == []
    assert misplaced_tests([*right, "tests/deeper/test_y.py"]) == ["tests/deeper/test_y.py: tests lie flat"]
    assert misplaced_tests([*right, "tests/bench/test_x.py"]) == ["test_x.py: 2 tests have this name"]


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_place_outside_is_caught(place: str) -> None:
    assert places_named("spec/x.py", f"fine\nsee {place}x\n") == [f"spec/x.py:2: names {place}"]


def test_the_synthetic_lock_is_right() -> None:
    assert unlocked(PYPROJECT, LOCK) == []
    assert without_reason(PYPROJECT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("msg-spec==2.0", "msg-spec==2.1"), ("msg-spec==2.0", "other==2.0")],
)
def test_a_pin_that_is_not_locked_is_caught(old: str, new: str) -> None:
    assert unlocked(PYPROJECT, LOCK.replace(old, new)) == ["msg-spec==2.0"]


def test_a_lock_without_hashes_is_caught() -> None:
    with pytest.raises(AssertionError, match="hatchling has no hash"):
        locked(LOCK.replace("    --hash=sha256:00\n", ""))


@pytest.mark.parametrize("loose", ["msg_spec>=2.0", "msg_spec", "msg_spec==2.*"])
def test_a_range_is_caught(loose: str) -> None:
    with pytest.raises(AssertionError, match="not one exact version"):
        pins(PYPROJECT.replace("msg_spec==2.0", loose))


def test_two_versions_of_one_library_are_caught() -> None:
    with pytest.raises(AssertionError, match="pinned to both"):
        pins(PYPROJECT.replace('requires = ["hatchling==1.0"]', 'requires = ["hatchling==1.1"]'))


def test_a_pin_without_reason_is_caught() -> None:
    assert without_reason(PYPROJECT.replace("  # types", "")) == ['"msg_spec==2.0",']
