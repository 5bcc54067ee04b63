"""The benchmark of nodes, as `make bench` runs it: it reports, and fails only where an operation did."""

import pytest

from tests.bench.bench_node import main


@pytest.mark.bench
def test_nodes() -> None:
    main(rounds=1, seconds=3.0)
