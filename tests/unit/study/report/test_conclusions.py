"""Sentences that never say more than the numbers."""

import math
from dataclasses import replace

import pytest

from edgewise.study.report.conclusions import conclude
from edgewise.study.report.findings import Kind, Strength
from edgewise.study.report.wording import interval, listing, number, percent, rates, share
from edgewise.study.results import Estimate, MlperfVerdict, NetworkProfile
from support import study_results
from support.study_results import Model, Served, Sweep, study


@pytest.fixture(scope="module")
def inversion():
    return study_results.inversion()


def of_kind(result, kind, *, headline=None):
    return [one for one in conclude(result) if one.kind is kind and (headline is None or one.headline is headline)]


def texts(result, kind):
    return [one.text for one in of_kind(result, kind)]


def equal_targets(**changes):
    """A near and a far place that are the same."""
    same = Served(20, 4)
    settings = {"loads": [10], "duration_s": 4, "targets": ("cloud", "edge"), "predict": False} | changes
    return study(Sweep("equal", [Model("twin", same, same)], [NetworkProfile("here", 0.0)], **settings))


def test_the_crossover_with_load_is_said_with_its_bounds(inversion):
    [said] = of_kind(inversion, Kind.WHERE, headline=True)
    assert said.strength is Strength.PARTLY
    assert said.lead == "pets, mean latency"
    low, middle, high, far = said.points
    assert low.startswith("on rtt-5 (5 ms of RTT) edge wins up to about")
    assert middle.startswith("on rtt-10")
    assert high.startswith("on rtt-20")
    assert "busy" in low
    assert "cloud above" in low
    assert far == "on rtt-40 (40 ms of RTT) edge wins up to 75 requests/s, above no difference is shown"


def test_the_crossover_moves_up_with_the_rtt(inversion):
    [said] = of_kind(inversion, Kind.WHERE, headline=True)
    places = [float(point.split("about ")[1].split()[0]) for point in said.points if "about" in point]
    assert places == sorted(places)
    assert len(places) == 3


def test_networks_that_differ_in_rtt_only_get_a_figure_others_their_names(inversion):
    said = [point for one in of_kind(inversion, Kind.WHERE) for point in one.points if "of RTT, " in point]
    assert any("edge wins above about 1" in point and "ms) of RTT, cloud below" in point for point in said)
    [other] = of_kind(study_results.quick(), Kind.WHERE, headline=True)
    assert "about" not in other.text or "some point between 0 ms (lan) and 40 ms (4g)" in other.text


def test_nothing_is_claimed_of_equal_targets():
    result = equal_targets()
    edge = next(found for found in result.cells if found.cell.target == "edge")
    cloud = next(found for found in result.cells if found.cell.target == "cloud")
    level = replace(cloud, mean_ms=edge.mean_ms, quantiles_ms=edge.quantiles_ms)
    for one in conclude(replace(result, cells=(edge, level))):
        if one.kind in {Kind.WHERE, Kind.NETWORK}:
            assert one.strength is Strength.NOT_SHOWN
            assert "wins" not in one.text
            assert "no difference" in one.text


def test_wide_intervals_take_every_claim_away(inversion):
    wide = tuple(
        replace(
            found,
            mean_ms=Estimate(found.mean_ms.value, 0.0, 1e6),
            quantiles_ms={ratio: Estimate(one.value, 0.0, 1e6) for ratio, one in found.quantiles_ms.items()},
        )
        for found in inversion.cells
    )
    for one in conclude(replace(inversion, cells=wide)):
        if one.kind in {Kind.WHERE, Kind.NETWORK}:
            assert one.strength is Strength.NOT_SHOWN
            assert "wins" not in one.text


def test_what_is_missing_void_or_thin_is_said():
    said = " ".join(texts(study_results.hollow(), Kind.CAUTION))
    assert "1 cell of 10 planned was not measured" in said
    assert "Nothing counts of 1 cell of 10" in said
    assert "4 runs of 27 are void" in said
    assert "rests on fewer than 1,000 answers" in said


def test_a_cell_without_a_valid_run_is_compared_with_nothing():
    said = " ".join(texts(study_results.hollow(), Kind.NETWORK))
    assert "4g: edge at 60 requests/s" in said
    assert "4g: edge at every load" not in said


def test_a_ledger_that_does_not_add_up_is_a_warning():
    result = study_results.quick()
    broken = replace(result.cells[0], requests=result.cells[0].requests + 3)
    said = " ".join(texts(replace(result, cells=(broken, *result.cells[1:])), Kind.CAUTION))
    assert f"does not add up ({broken.cell.name})" in said
    assert "does not add up" not in " ".join(texts(result, Kind.CAUTION))


def test_single_runs_are_said():
    assert any("rest on one run" in text for text in texts(equal_targets(repeats=1), Kind.CAUTION))


def test_nothing_measured_is_one_plain_sentence():
    found = conclude(study_results.empty())
    assert found[0].text == "Nothing was measured that counts, so there is nothing to conclude."
    assert {one.kind for one in found} == {Kind.WHERE, Kind.CAUTION}


def test_one_target_alone_is_not_compared():
    said = texts(equal_targets(targets=("edge",)), Kind.WHERE)
    assert said == ["Only edge was asked, so no two places can be compared."]


def test_an_outage_is_told_with_what_was_lost():
    cut = next(one for one in of_kind(study_results.outage(), Kind.AVAILABILITY) if "'cut'" in one.lead)
    assert cut.strength is Strength.SHOWN
    assert "(5s:blackhole, 12s:heal)" in cut.lead
    said = "; ".join(cut.points)
    assert "gateway answered 100 % (" in said
    assert "lost of 1,800)" in said
    assert cut.points[-1] == "shown to answer less than edge: cloud"


def test_accuracy_is_compared_input_by_input():
    [said] = of_kind(study_results.quick(), Kind.ACCURACY)
    assert said.strength is Strength.NOT_SHOWN
    assert "edge instead of cloud costs 2.7 points" in said.text
    assert "McNemar's exact test: p = 0.50" in said.text


def test_a_large_loss_of_accuracy_is_shown():
    model = Model("coarse", Served(9, 4, right_ratio=0.99), Served(20, 2, right_ratio=0.7))
    result = study(Sweep("coarse", [model], [NetworkProfile("here", 0.0)], [10], duration_s=3, labelled=90))
    [said] = of_kind(result, Kind.ACCURACY)
    assert said.strength is Strength.SHOWN


def test_without_inputs_told_apart_accuracy_shows_nothing():
    result = study_results.quick()
    [said] = of_kind(
        replace(result, cells=tuple(replace(found, judgements=()) for found in result.cells)), Kind.ACCURACY
    )
    assert said.strength is Strength.NOT_SHOWN
    assert "answers repeat inputs" in said.text


def test_many_models_share_their_sentences():
    found = conclude(study_results.architectures())
    where = [one for one in found if one.kind is Kind.WHERE and one.headline]
    assert 1 < len(where) < 9
    assert sum(one.lead.count("net") for one in where) >= 5
    assert len([one for one in found if one.kind is Kind.ACCURACY and one.headline]) == 1
    assert len([one for one in found if one.kind is Kind.PRICE and one.headline]) == 1


def test_prices_are_of_the_highest_load_that_both_keep_up_with():
    [said] = of_kind(study_results.quick(), Kind.PRICE)
    assert said.strength is Strength.COMPUTED
    assert "at 60 requests/s" in said.lead
    assert any(point.startswith("edge costs 0.278") for point in said.points)
    assert of_kind(replace(study_results.quick(), prices={}), Kind.PRICE) == []


def test_predictions_without_a_steady_state_are_left_out_and_counted():
    result = study_results.quick()
    lost = replace(result.predictions[0], mean_ms=math.inf, utilisation=1.2)
    [said] = texts(replace(result, predictions=(lost, *result.predictions[1:])), Kind.PREDICTION)
    assert "over 5 cells" in said
    assert "1 cell of 6 are left out" not in said
    assert "1 cell of 6 is left out" in said


def test_predicted_crossovers_stand_beside_the_measured(inversion):
    [_, said] = of_kind(inversion, Kind.PREDICTION)
    assert said.lead.endswith("at 4 crossovers")
    assert all("measured" in point and "predicted" in point for point in said.points)


def test_a_model_that_never_answers_rightly_is_not_compared():
    result = study_results.quick()
    wrong = tuple(
        replace(found, judgements=tuple(replace(one, verdict="n01440764") for one in found.judgements))
        for found in result.cells
    )
    [said] = of_kind(replace(result, cells=wrong), Kind.ACCURACY)
    assert said.strength is Strength.CAUTION
    assert "none of the answers of pets is right" in said.text


def test_mlperf_verdicts_are_told_as_they_are():
    verdicts = (
        MlperfVerdict("SingleStream", "edge", "", "pets", "rest-image", True, value=14.2, unit="ms", metric="p90"),
        MlperfVerdict("Server", "cloud", "4g", "pets", "rest-image", False, reasons=("too slow",)),
    )
    [said] = of_kind(replace(study_results.quick(), mlperf=verdicts), Kind.MLPERF)
    assert said.lead.endswith("1 of 2 results is valid")
    assert said.points == ("SingleStream, pets at edge: valid, 14.2 ms (p90)", "Server, pets at cloud on 4g: not valid")


def test_overload_is_told_apart_from_latency():
    said = texts(study_results.architectures(), Kind.AVAILABILITY)
    assert any("answered less than 99 %" in text for text in said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (9.996, "10.00"),
        (34.44, "34.4"),
        (123456, "123,456"),
        (-2.5, "−2.50"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_have_three_digits(value, said):
    assert number(value) == said


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (1, "100 %"),
        (0.99999, "over 99.99 %"),
        (0.5, "50 %"),
        (0.123456, "12.35 %"),
        (0, "0 %"),
        (0.00001, "under 0.01 %"),
        (math.nan, "–"),
    ],
)
def test_what_is_not_all_is_never_all(ratio, said):
    assert percent(ratio) == said


def test_wording_of_estimates_and_lists():
    assert interval(Estimate(12.34, 11.9, 12.8)) == "12.3 (11.9 to 12.8)"
    assert interval(Estimate(12.34, math.nan, math.nan)) == "12.3 (no interval)"
    assert share(Estimate(math.nan, 0, 1)) == "–"
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"], "or") == "a, b or c"
    assert rates([10, 1000]) == "10 and 1,000 requests/s"
