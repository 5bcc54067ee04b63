"""The plot of the benchmarks: well-formed, complete, and higher for more."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.plot import Panel, short, svg

MEASURED = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=3)
LINES = st.dictionaries(
    st.text("abc<&>", min_size=1), st.dictionaries(st.sampled_from(["1", "8", "64"]), MEASURED, min_size=1), min_size=1
)


@given(st.lists(LINES, min_size=1, max_size=4))
def test_every_measurement_has_its_dot(panels: list[dict[str, dict[str, list[float]]]]) -> None:
    drawn = ElementTree.fromstring(svg("a <title>", [Panel("p & q", "clients", lines) for lines in panels]))
    groups = [element for element in drawn if element.tag.endswith("}g")]
    for lines, group in zip(panels, groups, strict=True):
        found = [v for line in lines.values() for at_place in line.values() for v in at_place]
        heights = [float(dot.attrib["cy"]) for dot in group if dot.tag.endswith("}circle")]
        assert len(heights) == len(found)
        by_value = [height for _, height in sorted(zip(found, heights, strict=True), key=lambda pair: pair[0])]
        assert by_value == sorted(by_value, reverse=True)


def test_powers_of_ten_are_short() -> None:
    assert " ".join(short(power) for power in range(-2, 8)) == "0.01 0.1 1 10 100 1k 10k 100k 1M 10M"
