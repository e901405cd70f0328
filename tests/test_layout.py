# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/architecture.md that one file cannot show: who may import whom, and file hygiene."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "kernels": {"kernels"},
    "core": {"core", "kernels"},
    "sdk": {"sdk", "core", "kernels"},
    "train": {"train", "core", "kernels"},
}
PYTHON_FOLDERS = ("core", "kernels", "sdk", "train", "pitviper", "tests", "examples", "benchmarks", "docs")
NATIVE_SUFFIXES = {".cpp", ".hpp", ".h", ".cu", ".cuh"}
DUMP_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}
MAX_LINES = {".py": 400, ".pyi": 400} | dict.fromkeys(NATIVE_SUFFIXES, 500)
SPDX = "SPDX-License-Identifier: Apache-2.0"


def source_files() -> list[Path]:
    found = []
    for folder in PYTHON_FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            # pitviper/core and the like are links to the folders beside it: each file is looked at once.
            linked = path.relative_to(ROOT).parts[:2] in {("pitviper", layer) for layer in ALLOWED}
            if path.suffix in MAX_LINES and path.is_file() and not linked:
                found.append(path)
    return sorted(found)


def layer_files() -> list[Path]:
    return [path for path in source_files() if path.suffix == ".py" and _layer(path) in ALLOWED]


def _layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Absolute names of what a file imports, anywhere in it: in functions and by import_module too.

    Args:
        tree: The parsed file.
        package: Parts of the package that holds the file, such as ("pitviper", "sdk", "engines").
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            # `from pitviper import sdk` imports a layer as much as `import pitviper.sdk` does.
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            first = node.args[0]
            if called.endswith(("import_module", "__import__")):
                text = first.values[0] if isinstance(first, ast.JoinedStr) else first
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield text.value


def violations(source: str, layer: str, package: tuple[str, ...]) -> list[str]:
    """What the source of one file in a layer imports against the rules, in words."""
    found = []
    for name in imported_modules(ast.parse(source), package):
        head, _, rest = name.partition(".")
        second = rest.partition(".")[0]
        if head in ALLOWED:
            found.append(f"{name}: a bare import finds another package when installed; write pitviper.{name}")
        elif head == "pitviper" and second in ALLOWED:
            if second not in ALLOWED[layer]:
                found.append(f"{name}: {layer} may import only {', '.join(sorted(ALLOWED[layer]))}")
        elif head == "pitviper" and second not in {"", "__version__"}:
            found.append(f"{name}: pitviper holds only core, kernels, sdk and train once installed")
    return found


@pytest.mark.parametrize("path", layer_files(), ids=_id)
def test_imports_point_one_way(path: Path) -> None:
    relative = path.relative_to(ROOT)
    package = ("pitviper", *relative.parent.parts)
    assert violations(path.read_text("utf-8"), _layer(path), package) == []


@pytest.mark.parametrize("path", layer_files(), ids=_id)
def test_relative_imports_stay_in_their_folder(path: Path) -> None:
    depth = len(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= min(1, depth), f"line {node.lineno}: write from pitviper.<folder> import ..."


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("core", "import pitviper.sdk"),
        ("kernels", "from pitviper.core import metrics"),
        ("sdk", "def f():\n    from pitviper.train import cli"),
        ("core", "from pitviper import train"),
        ("train", "import importlib\nimportlib.import_module('pitviper.sdk.detector')"),
        ("core", "import kernels"),
        ("sdk", "from core.metrics import iou"),
        ("core", "from pitviper.examples import embed"),
        ("core", "from ..sdk import Detector"),
    ],
)
def test_planted_violations_are_seen(layer: str, source: str) -> None:
    assert violations(source, layer, ("pitviper", layer)) != []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("core", "from pitviper.kernels import standardise"),
        ("sdk", "from pitviper import __version__"),
        ("sdk", "from . import errors"),
        ("train", "import numpy.core"),
    ],
)
def test_allowed_imports_pass(layer: str, source: str) -> None:
    assert violations(source, layer, ("pitviper", layer)) == []


@pytest.mark.parametrize("path", source_files(), ids=_id)
def test_file_says_what_it_does_and_stays_small(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert path.stem not in DUMP_NAMES, "name the module after what it does"
    assert len(lines) <= MAX_LINES[path.suffix], f"{len(lines)} lines: split it by what changes together"
    assert any(SPDX in line for line in lines[:2]), f"no `{SPDX}` on top"


@pytest.mark.parametrize("path", layer_files(), ids=_id)
def test_no_todo_without_anchor(path: Path) -> None:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if re.search(r"#.*\b(TODO|FIXME|XXX)\b", line):
            assert re.search(r"\(\S+\)", line), f"line {number}: say which version or discussion removes it"


def test_pitviper_folder_holds_only_the_import_name() -> None:
    entries = {path.name for path in (ROOT / "pitviper").iterdir()} - {"__pycache__"}
    assert entries == {"__init__.py", "py.typed", *ALLOWED}


def test_make_runs_every_folder_of_tests() -> None:
    text = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"tests/(\w+)", " ".join(re.findall(r"^(?:FIRST|SECOND) := .*", text, re.M))))
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    assert folders <= named, "a folder that neither half of `make test` runs"
