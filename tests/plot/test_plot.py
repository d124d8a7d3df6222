"""Line charts: what is drawn stands where it should, whatever the data are."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.plot import NUM_DOTTED, WIDTH, line_chart, page

SVG = "{http://www.w3.org/2000/svg}"
LABELS = {"title": "Title", "x_label": "step", "y_label": "loss"}

finite = st.floats(-1e12, 1e12, allow_subnormal=False)
points = st.lists(st.tuples(finite, st.floats(allow_infinity=True, allow_nan=True)), max_size=15)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def curves(svg: str) -> list[list[tuple[float, float]]]:
    """The vertices of every drawn series, faint ones first."""
    paths = [path.get("d", "") for path in parse(svg).iter(f"{SVG}path") if "L" in path.get("d", "")]
    return [[tuple(map(float, vertex.split())) for vertex in path[1:].split("L")] for path in paths]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in parse(svg).iter(f"{SVG}text")]


names = st.text(st.characters(exclude_categories=["C"]), max_size=20)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, points, max_size=3), st.booleans())
def test_every_chart_is_well_formed_and_stays_inside(series, log_x) -> None:
    svg = line_chart(series, log_x=log_x, marks={"<mark>": 5.0}, **LABELS)
    root = parse(svg)
    height = float(root.get("height", ""))
    assert "nan" not in svg and "inf" not in svg
    for x, y in (vertex for curve in curves(svg) for vertex in curve):
        assert 0 <= x <= WIDTH and 0 <= y <= height
    assert len(svg) < 200_000


def test_points_stand_where_their_values_say() -> None:
    [curve] = curves(line_chart({"a": [(0, 0), (1, 1), (2, 4), (4, 2)]}, **LABELS))
    (x0, y0), (x1, y1), (x2, y2), (x4, y4) = curve
    assert (x1 - x0) * 4 == pytest.approx(x4 - x0, abs=0.3)
    assert (x2 - x0) * 2 == pytest.approx(x4 - x0, abs=0.3)
    assert (y0 - y1) * 4 == pytest.approx(y0 - y2, abs=0.3)
    assert y0 > y1 > y4 > y2


def test_a_logarithmic_axis_spaces_powers_evenly_and_leaves_out_what_is_not_positive() -> None:
    [curve] = curves(line_chart({"a": [(-1, 1), (0, 1), (1e-5, 1), (1e-4, 2), (1e-3, 3)]}, log_x=True, **LABELS))
    (a, _), (b, _), (c, _) = curve
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_values_that_are_no_numbers_are_left_out() -> None:
    [curve] = curves(line_chart({"a": [(1, 1), (2, math.nan), (3, math.inf), (4, 2)]}, **LABELS))
    assert len(curve) == 2


@pytest.mark.parametrize("series", [{"a": [(5.0, 3.0)]}, {"a": [(1.0, 0.0), (1.0, 0.0)]}])
def test_a_single_point_is_a_dot_in_the_middle(series) -> None:
    dots = list(parse(line_chart(series, **LABELS)).iter(f"{SVG}circle"))
    assert len(dots) == len(series["a"])
    assert all(300 < float(dot.get("cx", "")) < 600 for dot in dots)


def test_a_chart_without_points_says_so() -> None:
    for series in ({}, {"a": []}, {"a": [(1.0, math.nan)]}):
        assert "no points to draw" in texts(line_chart(series, marks={"m": 1.0}, **LABELS))


def test_a_legend_stands_where_there_are_several_series() -> None:
    assert "train" not in texts(line_chart({"train": [(1, 1), (2, 2)]}, **LABELS))
    both = texts(line_chart({"train": [(1, 1), (2, 2)], "validation": [(1, 1)]}, **LABELS))
    assert {"train", "validation"} <= set(both)


def test_text_from_data_is_escaped() -> None:
    hostile = '</text><script>alert("x")</script>'
    svg = line_chart({hostile: [(1, 1)], "b": []}, title=hostile, x_label=hostile, y_label=hostile, marks={hostile: 1})
    assert texts(svg).count(hostile) == 5
    assert not list(parse(svg).iter(f"{SVG}script"))


def test_marks_are_labeled_lines_whose_labels_do_not_touch() -> None:
    marks = {"warmup ends": 10.0, "epoch 2": 11.0, "best": 90.0}
    root = parse(line_chart({"a": [(0, 1), (100, 2)]}, marks=marks, **LABELS))
    found = {text.text: (float(text.get("x", "")), float(text.get("y", ""))) for text in root.iter(f"{SVG}text")}
    assert found["warmup ends"][1] != found["epoch 2"][1]
    assert found["warmup ends"][1] == found["best"][1]
    verticals = [path for path in root.iter(f"{SVG}path") if "V" in path.get("d", "")]
    assert len(verticals) == 3


def test_a_long_series_is_thinned_and_keeps_its_extremes() -> None:
    series = [(step, 100.0 if step == 33_333 else -50.0 if step == 66_666 else 0.0) for step in range(100_000)]
    plain = [(step, value) for step, value in series if value or step in (0, 99_999)]
    [thin], [exact] = curves(line_chart({"a": series}, **LABELS)), curves(line_chart({"a": plain}, **LABELS))
    assert len(thin) < 2 * WIDTH
    assert min(y for _, y in thin) == min(y for _, y in exact)
    assert max(y for _, y in thin) == max(y for _, y in exact)


def test_raw_values_are_faint_and_take_the_color_of_their_series() -> None:
    root = parse(line_chart({"a": [(0, 1), (9, 1)], "b": [(0, 2), (9, 2)]}, raw={"b": [(0, 3), (9, 1)]}, **LABELS))
    drawn = [path for path in root.iter(f"{SVG}path") if "L" in path.get("d", "")]
    assert [path.get("stroke-opacity") for path in drawn] == ["0.3", None, None]
    assert drawn[0].get("stroke") == drawn[2].get("stroke") != drawn[1].get("stroke")


@settings(deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(1e-4, 10))
def test_ticks_are_round_and_few(low, share) -> None:
    svg = line_chart({"a": [(1, low), (2, low * (1 + share))]}, **LABELS)
    ends = [text.text or "" for text in parse(svg).iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert 2 <= len(ends) <= 8
    assert len(set(ends)) == len(ends)
    assert all(len(re.sub(r"[^0-9]", "", text)) <= 14 for text in ends)


def test_dots_are_for_few_points() -> None:
    many = [(step, step) for step in range(NUM_DOTTED + 1)]
    assert not list(parse(line_chart({"a": many}, **LABELS)).iter(f"{SVG}circle"))
    assert len(list(parse(line_chart({"a": many[1:]}, **LABELS)).iter(f"{SVG}circle"))) == NUM_DOTTED


def test_a_page_holds_its_charts_under_each_other() -> None:
    charts = [line_chart({"a": [(1, 1), (2, 2)]}, **LABELS), line_chart({"b": [(1, 1)]}, height=100, **LABELS)]
    root = parse(page(charts))
    heights = [float(parse(chart).get("height", "")) for chart in charts]
    inner = list(root.findall(f"{SVG}svg"))
    assert [float(svg.get("y", "")) for svg in inner] == [0, heights[0]]
    assert float(root.get("height", "")) == sum(heights)
