"""The model card: one page that needs nothing beside it, and says what the model is for and where it is weak."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from features.catalog import BUILT_IN
from features.core import plot
from features.core.errors import RegistryError
from features.settings import ChurnLabel, UpsellLabel
from training.diagnostics.sample_size import InsufficientData
from training.evaluation import plots
from training.evaluation.evaluate import BaselineFigures
from training.evaluation.headline import describe_headline
from training.evaluation.segments import SegmentFigures
from training.registry import card_text, model_card


@pytest.fixture(scope="module")
def about(company):
    return model_card.CardContext(company.settings, "0123456789abcdef", "run-7")


@pytest.fixture(scope="module")
def page(about, fitted):
    churn = fitted["churn"]
    drawn = {30: [*plots.draw_plots("churn_30d", churn.results[30])]}
    return model_card.render_card(about, "churn", churn, drawn)


class Page(HTMLParser):
    """The addresses and tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.tags, self.text = [], set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset", "action"}]

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        self.text += " " if tag in {"td", "th"} else ""


def spoken(page):
    return " ".join(Page(page).text.split())


def test_it_needs_nothing_beside_it_and_runs_nothing(page):
    found = Page(page)
    assert not found.tags & {"script", "link", "iframe", "form", "object", "embed", "base", "img"}
    assert not found.addresses
    assert not re.search(r"url\((?!#)|@import|https?:", page)


def test_the_answer_comes_first_and_machinery_last_and_folded(page, fitted):
    text, e = spoken(page), fitted["churn"].results[30].evaluation
    answer = text.index("Of the riskiest tenth, ")
    assert describe_headline("churn", e, days=30) in text
    assert answer < text.index("Within 30 days") < text.index("Limits") < text.index("run-7")
    assert page.rindex("<details>") < page.index("<td>run-7")


def test_plots_are_drawn_in_the_pages_colours_and_say_what_they_show(page):
    assert page.count("<svg") == page.count('role="img"') == 5
    assert 'aria-label="Does a score come true as often as it says?"' in page
    assert "var(--series)" in page
    assert plot.SERIES not in page[page.index("<h1>") :]
    assert "share that came true" in spoken(page)


def test_no_word_of_the_code_is_left_in_what_people_read(page):
    told = spoken(page).split("How it was made")[0]
    for code in ("no_signal", "as_of", "`", "rfm_logistic", "base_rate", "see find_"):
        assert code not in told.replace("as_of_", ""), code


def test_it_says_what_the_model_is_for_and_what_it_was_made_of(page, fitted):
    text = spoken(page)
    bundle = fitted["churn"].model
    for words in (
        "which accounts are about to leave",
        "An account leaves where the company recorded the end of its relation within the 30 or 60 days.",
        "accounts that had started by then and not ended",
        "0123456789abcdef",
        "run-7",
        bundle.catalog,
        "usage, purchases",
        "tickets, touches",
        fitted["churn"].results[60].plan.describe(),
        "python -m training rollback churn --config garrison.toml",
        "These attributes are as they stood at the export, whatever the day of a score: plan, seats",
    ):
        assert words in text, words


def test_it_gives_each_horizons_figures_in_two_digits_beside_the_baselines(page, fitted):
    text = spoken(page)
    for horizon, outcome in fitted["churn"].results.items():
        e = outcome.evaluation
        assert f"Signal: {card_text.spell_out(e.reasons[0])}" in text
        assert f"Within {horizon} days" in text
        assert f"{e.auc:.2f} {e.auc_low:.2f} to {e.auc_high:.2f} 0.5 is chance, 1 is perfect" in text
        logistic = e.baselines["rfm_logistic"]
        assert f"a plain formula of recency, frequency and money {logistic.auc:.2f} {logistic.ap:.2f}" in text
    assert not re.search(r"\d\.\d{3}", text.split("All figures")[1].split("Intervals are")[0])


@pytest.mark.parametrize(
    ("verdict", "target", "told"),
    [
        ("signal", "churn", "Of the riskiest tenth, 5 in 10 leave within 97 days; on average 1 in 10."),
        ("signal", "upsell", "Of the most likely tenth, 5 in 10 buy more within 97 days; on average 1 in 10."),
        ("no_signal", "churn", "It does not tell who will leave within 97 days any better than a plain formula of"),
        ("insufficient", "churn", "Too little data to tell who will leave within 97 days."),
        ("leak_suspected", "churn", "Not to be used: it may have learned from what is known only once accounts leave."),
    ],
)
def test_the_headline_answers_by_the_verdict(fitted, verdict, target, told):
    e = fitted["churn"].results[30].evaluation
    rivals = {"base_rate": BaselineFigures(0.5, 0.1), "rfm_logistic": BaselineFigures(0.7, 0.2)}
    e = replace(e, verdict=verdict, base_rate=0.1, lift_10=4.8, baselines=rivals)
    assert describe_headline(target, e, days=97).startswith(told)


def test_its_drivers_are_families_with_the_planted_reason_first_and_its_direction(fitted):
    churn, upsell = fitted["churn"].model, fitted["upsell"].model
    found = model_card.rank_families(churn, 30, BUILT_IN)
    assert found[0].leader == "plan"
    assert found[0].direction.startswith("basic raises it, ")
    assert [f.strength for f in found] == sorted((f.strength for f in found), reverse=True)
    assert sum(f.share for f in found) == pytest.approx(1)
    assert len({f.name for f in found}) == len(found)
    seats = model_card.rank_families(upsell, 30, BUILT_IN)[0]
    assert (seats.leader, seats.direction) == ("seats", "more of it raises the score")


def test_a_families_strength_is_that_of_the_sum_of_its_features(fitted):
    bundle, catalog = fitted["churn"].model, BUILT_IN
    parts = bundle.contributions(bundle.matrix(bundle.reference), 30)
    its = [catalog.find_feature(f).family == "usage level" for f in bundle.features]
    assert sum(its) > 1
    [found] = [f for f in model_card.rank_families(bundle, 30, catalog) if f.name == "usage level"]
    assert found.strength == pytest.approx(np.abs(parts[:, its].sum(axis=1)).mean(), rel=0.2)


@pytest.mark.parametrize(
    ("values", "parts", "told"),
    [
        ([1.0, 2.0, 3.0, np.nan], [3.0, 2.0, 1.0, 9.0], "more of it lowers the score"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, -1.0, 0.0, -1.0, 1.0], "neither way throughout"),
        ([1.0, 1.0, np.nan], [0.1, 0.1, -0.5], "depends on whether it is known"),
    ],
)
def test_a_direction_is_told_only_where_there_is_one(values, parts, told):
    assert model_card._describe_direction(pd.Series(values), np.array(parts)) == told


def test_a_segment_is_weak_where_its_whole_interval_lies_below_the_auc_of_all(about, fitted):
    churn = fitted["churn"]
    e = replace(
        churn.results[30].evaluation,
        auc=0.8,
        by_segment=(
            SegmentFigures("plan", "weak one", 100, 20, 0.3, 0.6, 0.5, 0.79),
            SegmentFigures("plan", "unclear one", 100, 20, 0.2, 0.6, 0.5, 0.81),
            SegmentFigures("plan", "small one", 12, 2, 0.2, None, None, None),
        ),
    )
    assert [p.value for p in model_card.find_weak_segments(e)] == ["weak one"]
    outcomes = {30: replace(churn.results[30], evaluation=e)}
    text = spoken(model_card.render_card(about, "churn", replace(churn, results=outcomes), {}))
    assert "plan: weak one 100 20% 30% 0.60 (0.50 to 0.79)" in text
    assert "unclear one" not in text
    assert "Too few of either outcome to tell: plan small one (2 of 12)" in text


def test_names_of_users_are_escaped(about, fitted):
    bad = "<script>alert(1)</script>"
    settings = about.settings
    company = settings.company.model_copy(update={"name": bad})
    churn = fitted["churn"]
    e = replace(
        churn.results[30].evaluation,
        reasons=(bad,),
        by_segment=(SegmentFigures("plan", bad, 9, 3, 0.3, 0.1, 0.1, 0.1),),
    )
    changed = replace(churn, results={30: replace(churn.results[30], evaluation=e)})
    own = replace(about, settings=settings.model_copy(update={"company": company}))
    page = model_card.render_card(own, "churn", changed, {})
    assert bad not in page
    assert page.count(html.escape(bad)) >= 4


def test_a_horizon_that_was_not_trained_is_told_with_the_reasons(about, fitted):
    short = replace(fitted["churn"], insufficient={90: InsufficientData(20, 0, ("nobody left", "too few rows"))})
    text = spoken(model_card.render_card(about, "churn", short, {}))
    assert "For 90 days no model could be trained. Too little data: nobody left; too few rows" in text
    assert "90 days: nobody left" in text


def test_what_counts_is_told_with_the_settings_of_the_company(company):
    churn = company.settings.churn
    label = churn.label.model_copy(update={"kind": "lapse", "grace_days": 3, "products": ("gold",)})
    said = card_text.describe_label(churn.model_copy(update={"label": label, "lead_days": 7}))
    assert said == (
        "An account leaves where a paid term ends within the 30 or 60 days after the first 7 days, which owners have "
        "to act in, and none follows within 3 days. Only gold counts."
    )


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("churn", ChurnLabel.model_fields["kind"]), ("upsell", UpsellLabel.model_fields["kind"])],
)
def test_every_kind_of_label_has_its_definition_in_words(company, name, kinds):
    target = company.settings.targets[name]
    for kind in get_args(kinds.annotation):
        said = card_text.describe_label(
            target.model_copy(update={"label": target.label.model_copy(update={"kind": kind})})
        )
        assert len(said.split()) > 10, kind
        assert "_" not in said, kind


def test_a_card_is_copied_out_of_the_models_folder(tmp_path, page):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(RegistryError, match="has no card"):
        model_card.copy_card(tmp_path / "bundle", tmp_path / "out.html")
    (tmp_path / "bundle" / "card.html").write_text(page)
    assert model_card.copy_card(tmp_path / "bundle", tmp_path / "cards" / "out.html").read_text() == page
