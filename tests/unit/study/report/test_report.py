"""The page as a file: whole, escaped, small, and asking for nothing."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgewise.study import report
from edgewise.study.results import MlperfVerdict
from support import study_results

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.ids = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def tags(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


def written(directory, result, scenario=""):
    if scenario:
        (directory / "scenario.toml").write_text(scenario)
    path = report.write(directory, result)
    return path, path.read_text()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quick")
    return (directory, *written(directory, study_results.quick(), 'title = "<b>quick</b>"\n'))


def test_page_and_plots_are_written(quick):
    directory, path, text = quick
    assert path == directory / "report.html"
    names = set(re.findall(r'href="plots/([^"]*)"', text))
    assert names == {one.name for one in (directory / "plots").iterdir()}
    assert len(names) == 2 * len(Page(text).tags("figure"))


def test_what_to_do_comes_first(quick):
    page = Page(quick[2])
    sections = [attrs["id"] for attrs in page.tags("section")]
    assert sections == ["what", "map", "latency", "accuracy", "availability", "cost", "prediction", "method"]
    assert [attrs["href"] for attrs in page.tags("a") if attrs["href"].startswith("#")][1:] == [
        f"#{name}" for name in sections
    ]


def test_the_page_asks_for_nothing_and_runs_nothing(quick):
    page = Page(quick[2])
    assert not page.tags("script")
    assert not page.tags("link")
    assert not page.tags("img")
    assert "default-src 'none'" in page.tags("meta")[2]["content"]
    assert "url(http" not in quick[2]
    assert "@import" not in quick[2]
    assert all(not re.match(r"(https?:)?//", attrs.get("href", "")) for _, attrs in page.found)


def test_every_id_is_there_once(quick):
    page = Page(quick[2])
    assert len(page.ids) == len(set(page.ids))
    for _, attrs in page.found:
        for name in ("aria-labelledby", "href"):
            target = attrs.get(name, "")
            if name != "href" or target.startswith("#"):
                assert not target or target.removeprefix("#") in page.ids


def test_tables_have_heads_and_figures_captions(quick):
    page = Page(quick[2])
    assert len(page.tags("figcaption")) == len(page.tags("figure")) == len(page.tags("svg"))
    assert all(attrs["aria-label"] for attrs in page.tags("svg"))
    assert len(page.tags("caption")) == len(page.tags("table"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in page.tags("th"))


def test_names_from_a_scenario_are_text(tmp_path):
    path, text = written(tmp_path, study_results.hostile(), "</pre><script>alert(1)</script>")
    page = Page(text)
    assert not page.tags("script")
    assert "&lt;script&gt;alert(1)" in text
    assert "模型&lt;script&gt;" in text
    for one in (tmp_path / "plots").iterdir():
        assert re.fullmatch(r"[a-z0-9.-]+\.(svg|png)", one.name)
    assert path.stat().st_size < 1e6


def test_gaps_are_in_the_page(tmp_path):
    _, text = written(tmp_path, study_results.hollow())
    assert "interrupted before it was its turn" in text
    assert "the engine was late: 4.20 ms at p99" in text
    assert "the scenario has no prices" in text
    assert "the study was not calibrated" in text


def test_mlperf_has_a_part_of_its_own(tmp_path):
    verdict = MlperfVerdict(
        "Server", "cloud", "4g", "pets", "rest-image", False, reasons=("<too> slow",), lines=("Result is : INVALID",)
    )
    _, text = written(tmp_path, replace(study_results.empty(), mlperf=(verdict,)))
    assert "mlperf" in [attrs["id"] for attrs in Page(text).tags("section")]
    assert "INVALID" in text
    assert "&lt;too&gt; slow" in text


def test_a_study_of_nothing_is_a_page_too(tmp_path):
    _, text = written(tmp_path, study_results.empty())
    page = Page(text)
    assert not page.tags("figure")
    assert "Nothing was measured that counts" in text
    assert "no server answered" in text
    assert list((tmp_path / "plots").iterdir()) == []


def test_an_earlier_report_leaves_nothing_behind(tmp_path):
    plots = tmp_path / "plots"
    plots.mkdir()
    for name in ("old.svg", "old.png", "mine.txt"):
        (plots / name).write_text("x")
    written(tmp_path, study_results.empty())
    assert [one.name for one in plots.iterdir()] == ["mine.txt"]
