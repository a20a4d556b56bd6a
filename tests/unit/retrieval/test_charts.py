from __future__ import annotations

import math

import pytest

from dicom_migration.retrieval.charts import HEIGHT, WIDTH, percentile_curves, stacked, trend_lines
from dicom_migration.retrieval.samples import Sample


def samples(*seconds):
    return [Sample("cloud", "first_image", "cold", "CT", "STANDARD", s) for s in seconds]


def points(line):
    return [tuple(float(v) for v in point.split(",")) for point in line.points.split()]


def test_a_curve_climbs_to_the_top_and_one_with_failures_stays_below():
    chart = percentile_curves(
        "t", [("a", "cloud", samples(0.1, 1, 10)), ("b", "source", samples(0.1, math.inf))]
    )
    whole, broken = (points(line) for line in chart.lines)
    assert whole[0] == (0.0, HEIGHT)
    assert whole[-1][1] == 0.0
    assert broken[-1][1] == HEIGHT / 2
    assert all(0 <= x <= WIDTH for x, _ in whole + broken)
    assert [x for x, _ in whole] == sorted(x for x, _ in whole)


def test_equal_times_and_extreme_ones_have_a_scale():
    for seconds in ((1.0, 1.0), (1e-9,), (5e5, 1e-5)):
        chart = percentile_curves("t", [("a", "cloud", samples(*seconds))])
        assert len(chart.across) >= 2


def test_nothing_to_draw_is_no_chart():
    assert percentile_curves("t", [("a", "cloud", samples(math.inf))]) is None
    assert trend_lines("t", ["1"], [("a", "cloud", [1.0])]) is None
    assert trend_lines("t", ["1", "2"], [("a", "cloud", [math.nan, math.nan])]) is None


def test_a_trend_leaves_out_runs_without_a_value():
    chart = trend_lines("t", ["1", "2", "3"], [("a", "cloud", [1.0, math.nan, 2.0])])
    assert [x for x, _ in points(chart.lines[0])] == [0.0, WIDTH]


def test_the_parts_of_a_bar_follow_one_another():
    assert stacked([1, 0, 3], 4, 100) == [(0.0, 25.0), (25.0, 0.0), (25.0, 75.0)]
    assert stacked([0], 0, 100) == [(0.0, pytest.approx(0.0))]
