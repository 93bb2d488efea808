"""Plots that stay readable, whatever was swept."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib as mpl
import pytest

from edgewise.study.report import palette, plots_style
from edgewise.study.report.html_svg import inline
from edgewise.study.report.index import Index, spread
from edgewise.study.report.plots import all_drawings
from edgewise.study.report.plots_outage import faulty
from edgewise.study.report.plots_panels import Panel, wrapped
from edgewise.study.report.plots_style import render
from support import study_results

SVG = "{http://www.w3.org/2000/svg}"


def drawings(result):
    return {one.name: one for found in all_drawings(Index(result)).values() for one in found}


def drawn(result, name):
    with plots_style.configuration():
        return render(drawings(result)[name])


@pytest.fixture(scope="module")
def plots(quick):
    return {name: drawn(quick, name) for name in ("map-mean", "cdf", "rtt", "load", "lag", "prediction")}


def words(plot):
    return [text.text for text in ET.fromstring(plot.svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def quick():
    return study_results.quick()


@pytest.fixture(scope="module")
def tradeoff():
    return study_results.tradeoff()


def test_what_is_drawn_depends_on_what_was_measured(quick):
    assert set(drawings(quick)) == {
        *("map-mean", "map-p99", "cdf", "rtt", "load", "accuracy", "cost", "prediction", "lag"),
    }
    assert {"outage-pets-outage-cut", "outage-pets-outage-flap", "ledger"} <= set(drawings(study_results.outage()))
    assert drawings(study_results.empty()) == {}


def test_without_prices_labels_or_predictions_their_plots_are_not_there(quick):
    bare = replace(
        quick,
        prices={},
        predictions=(),
        cells=tuple(
            replace(one, judgements=(), runs=tuple(replace(run, labelled=0, right=0) for run in one.runs))
            for one in quick.cells
        ),
    )
    assert not {"cost", "prediction", "accuracy"} & set(drawings(bare))


def test_a_large_sweep_stays_a_few_figures_of_a_few_panels(tradeoff):
    found = drawings(tradeoff)
    assert len(found) <= 20
    with mpl.rc_context(plots_style.STYLE):
        for name in ("cdf-pets", "rtt-p99", "load-p99", "map-mean", "cost-pets", "ledger", "prediction"):
            figure = found[name].draw()
            assert 1 <= len(figure.axes) <= 12
            assert figure.get_figwidth() <= 11
            assert figure.get_figheight() <= 9


def test_the_map_says_who_wins_in_words(tradeoff):
    said = words(drawn(tradeoff, "map-mean"))
    assert said.count("cloud") + said.count("edge") >= 80
    assert "answers" in said
    assert "(edge)" in said
    assert "neither" in said


def test_a_map_has_the_predicted_line_where_there_are_predictions(quick):
    assert "Line: where the prediction" in drawings(quick)["map-mean"].caption
    assert "Nothing was predicted" in drawings(replace(quick, predictions=()))["map-mean"].caption


def test_axes_have_units(plots):
    for name, labels in {
        "cdf": {"latency, ms", "share of requests answered"},
        "rtt": {"p50, ms", "p95, ms", "p99, ms", "network, RTT in ms"},
        "load": {"requests/s of one place"},
        "lag": {"lag at p99, ms", "requests/s sent"},
        "prediction": {"predicted mean, ms", "measured mean, ms"},
    }.items():
        assert labels <= set(words(plots[name]))


def test_a_curve_of_a_target_that_lost_requests_ends_below_all():
    result = study_results.outage()
    assert "ends below 1" in drawings(result)["cdf"].caption
    row = next(row for row in drawings(result)["cdf"].table.rows if row[:3] == ("pets, outage cut", "4g", "cloud"))
    assert row[4] == "64.67 %"


def test_every_drawing_has_data_as_wide_as_its_header(tradeoff):
    for one in drawings(tradeoff).values():
        assert one.table.rows
        assert {len(row) for row in one.table.rows} == {len(one.table.header)}
        assert one.description
        assert one.caption


def test_the_same_study_gives_the_same_bytes(quick, plots):
    first, second = plots["map-mean"], drawn(study_results.quick(), "map-mean")
    assert first.svg == second.svg
    assert first.png == second.png
    assert first.png.startswith(b"\x89PNG")


def test_names_that_look_like_markup_or_mathematics_are_text():
    plot = drawn(study_results.hostile(), "map-mean")
    mark = "模型<script>alert('x')</script>&\"$\\alpha$"
    assert any(mark in text for text in words(plot) if text)
    assert "<script" not in inline(plot)


def test_inlined_plots_share_no_id_and_point_to_their_own(plots):
    seen = set()
    for plot in plots.values():
        svg = inline(plot)
        ids = re.findall(r'\bid="([^"]*)"', svg)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        used = set(re.findall(r'href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
        assert used
        assert used <= set(ids)
        ET.fromstring(svg)


def test_inlined_plots_take_the_colours_of_the_page(plots):
    svg = inline(plots["rtt"])
    assert "var(--cloud)" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) == set()
    assert 'role="img"' in svg
    assert "font-family" not in svg


def test_an_inlined_plot_is_told_to_who_cannot_see_it(plots):
    plot = plots["map-mean"]
    assert f'aria-label="{plot.drawing.description}"' in inline(plot)
    assert plot.drawing.description.startswith("Map of who wins by mean latency: of 4 fields")


def contrast(one, other):
    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_stand_out(scheme):
    named = {colour.name: getattr(colour, scheme) for colour in palette.ALL}
    for name in ("ink", "soft", "cloud", "edge", "gateway", "other-1", "other-2", "other-3"):
        assert contrast(named[name], named["paper"]) >= 4.5, name
    for name, colour in named.items():
        if name.startswith(("cloud-", "edge-")):
            assert contrast(named["ink"], colour) >= 4.5, name
    assert contrast(named["soft"], named["shade"]) >= 4.5


def test_colours_are_told_apart_by_their_names():
    assert len({colour.light for colour in palette.ALL}) == len(palette.ALL)
    assert len({colour.name for colour in palette.ALL}) == len(palette.ALL)
    looks = palette.series(["cloud", "edge", "gateway", "a", "b", "c"])
    for looked in ("colour", "marker"):
        assert len({getattr(look, looked) for look in looks.values()}) == 6


@pytest.mark.parametrize(
    ("steps", "spans"),
    [
        ("5s:blackhole, 12s:heal", [(5, 12)]),
        ("500ms:reset,1min:heal", [(0.5, 60)]),
        ("1s:reset for=2s, 9s:heal", [(1, 3)]),
        ("2s:blackhole up, 3s:drip bytes=10, 4s:heal", [(2, 4)]),
        ("3s:blackhole", [(3, math.inf)]),
        ("1s:profile 3g", []),
        ("", []),
        ("nonsense", []),
    ],
)
def test_when_a_link_is_faulty(steps, spans):
    assert faulty(steps) == spans


def test_few_are_chosen_evenly():
    assert spread(list("abcdefghijk"), 4) == ["a", "d", "h", "k"]
    assert spread(["a"], 4) == ["a"]
    assert spread(list("abc"), 1) == ["b"]
    panel = Panel(study_results.quick().cells[0], "4g", 1.0)
    assert [len(row) for row in wrapped([panel] * 9)] == [3, 3, 3]
    assert wrapped([panel] * 5)[-1][-1] is None
