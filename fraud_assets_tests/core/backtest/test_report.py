import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_assets_tests.core.backtest.backtest_results import fold_of, result_of
from fraud_core.backtest.report import make_report
from fraud_core.backtest.result import BacktestResult
from fraud_core.evaluation.report import alerts_at_k, budget_curve, card_precision_at_k


def written(result: BacktestResult) -> tuple[dict, str]:
    report = make_report(result)
    return json.loads(report.json), report.html


@pytest.mark.parametrize("folds", [1, 4])
def test_every_metric_in_the_json_is_the_evaluations(folds):
    result = result_of(*(fold_of(number) for number in range(folds)))
    content, page = written(result)
    for fold, told in zip(result.folds, content["folds"], strict=True):
        metrics = fold.evaluation.metrics()
        assert {name: told["metrics"][name] for name in metrics} == metrics
        assert told["metrics"]["alerts_a_day"] == fold.scored["is_flagged"].sum() / 7
        assert told["threshold"]["value"] == fold.threshold.value
        assert told["excluded"] == {"cards": 3, "rows": 12}
        assert [candidate["average_precision"] for candidate in told["search"]] == [0.7, 0.6]
        for name, value in metrics.items():
            by_fold = [each.evaluation.metrics()[name] for each in result.folds]
            assert content["overall"]["mean_over_folds"][name] == np.mean(by_fold), (name, value)
    assert content["folds"][0]["periods"]["test"] == ["2018-09-26", "2018-10-03"]
    assert page.count("<svg") == 11


def test_pooled_metrics_are_those_of_all_rows_each_with_its_own_folds_threshold():
    folds = [fold_of(0, threshold=0.2), fold_of(1, threshold=0.6)]
    pooled = written(result_of(*folds))[0]["overall"]["pooled_over_folds"]
    rows = pl.concat(fold.scored for fold in folds)
    assert pooled["average_precision"] == average_precision_score(rows["is_fraud"], rows["score"])
    assert pooled["true_positives"] == sum(fold.evaluation.true_positives for fold in folds)
    assert pooled["false_positives"] == sum(fold.evaluation.false_positives for fold in folds)
    assert pooled["card_precision_at_100"] == pytest.approx(
        np.mean([fold.evaluation.card_precision_at_k for fold in folds])
    )


def test_the_days_of_folds_that_overlap_stay_apart():
    fold = fold_of(0)
    content, _ = written(result_of(fold, replace(fold, fold=1)))
    pooled = content["overall"]["pooled_over_folds"]
    assert pooled["card_precision_at_100"] == pytest.approx(fold.evaluation.card_precision_at_k)
    assert pooled["alerts_a_day"] == fold.scored["is_flagged"].sum() / 7


def test_the_budget_curve_is_the_single_budgets_measures():
    scored = fold_of(0).scored
    scores = scored["score"].to_numpy()
    for point in budget_curve(scored, scores, (10, 100, 500)).iter_rows(named=True):
        blocking = card_precision_at_k(scored, scores, point["k"], without_detected=True)
        assert point["card_precision"] == blocking
        assert (point["alert_precision"], point["alert_recall"]) == alerts_at_k(scored, scores, point["k"])
    assert budget_curve(scored, scores, (10**6,))["caught_minor"][0] == scored.filter("is_fraud")["value_minor"].sum()


def test_the_page_refers_to_nothing_outside_itself():
    _, page = written(result_of(fold_of(0), fold_of(1)))
    assert "//" not in re.sub(r"base64,[^\"]*", "", page)
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)", page)
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_what_came_from_outside_is_escaped():
    hostile = '<script>alert("x")</script>'
    result = result_of(
        fold_of(0), options={hostile: hostile}, warnings={f"labels of {hostile}": 1_204}, columns_used=(hostile,)
    )
    content, page = written(result)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert "<strong>1,204</strong>" in page
    assert content["data"]["warnings"] == {f"labels of {hostile}": 1_204}


def test_a_number_that_is_not_finite_becomes_null_with_a_reason():
    search = pl.DataFrame({"max_depth": [6], "average_precision": [0.5], "average_precision_std": [float("nan")]})
    content, _ = written(result_of(replace(fold_of(0), search=search)))
    assert content["folds"][0]["search"][0]["average_precision_std"] is None
    assert content["nulls"]["folds.0.search.0.average_precision_std"] == "not a finite number: nan"
    assert content["overall"]["std_over_folds"] is None
    assert content["nulls"]["overall.std_over_folds"] == "one fold has no spread"


def test_a_fold_without_an_alert_has_no_precision_and_the_others_are_still_reported():
    content, page = written(result_of(fold_of(0), fold_of(1, threshold=1.0)))
    assert content["folds"][1]["metrics"]["precision"] is None
    assert content["folds"][1]["metrics"]["recall"] == 0
    assert content["nulls"]["folds.1.metrics.precision"] == "without an alert there is no precision"
    assert content["overall"]["mean_over_folds"]["precision"] is None
    assert content["overall"]["pooled_over_folds"]["precision"] == content["folds"][0]["metrics"]["precision"]
    assert "nan" not in page


@pytest.mark.parametrize("of", [{"rows": 40, "frauds": 1}, {"threshold": 0.0}], ids=["one fraud", "all"])
def test_one_fraud_or_everything_flagged_can_be_shown(of):
    _, page = written(result_of(fold_of(0, **of)))
    assert page.count("<svg") == 11
    assert "nan" not in page
