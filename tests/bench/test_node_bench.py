"""The benchmarks of nodes, as `make bench` runs them: they report, and fail only where an operation did."""

from pathlib import Path

import pytest

from tests.bench import bench_keys, bench_node


@pytest.mark.bench
def test_nodes(tmp_path: Path) -> None:
    bench_node.main(1, 3.0, tmp_path / "nodes.svg")


@pytest.mark.bench
def test_keys() -> None:
    bench_keys.main(seconds=3.0)
