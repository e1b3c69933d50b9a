"""A company's own feature is a column of its models, which remember the catalog they were trained on."""

from features.catalog import BUILT_IN
from features.sources.history import History
from serving.scoring.scorer import Scorer
from training.fitting import fit
from training.models import dataset

OWN = '''
from features.definition import feature, ratio
from features.streams import PURCHASES, USAGE

@feature(windows=(90,), unit="uses an order", family="use of orders", says="{value:.1f} uses an order in {w} days")
def use_per_order(at, w):
    """Uses for each order of the last {w} days."""
    return ratio(at(USAGE.count(), w), at(PURCHASES.count(), w))

FEATURES = (*use_per_order,)
'''


def test_an_own_feature_is_a_column_of_the_model_and_its_definition_is_in_the_models_catalog(company, tmp_path):
    ours = company.vary(tmp_path, ("[upsell]", '[catalog]\nfeatures = "own_features.py"\n\n[upsell]'))
    (tmp_path / "own_features.py").write_text(OWN, encoding="utf-8")
    settings = ours.settings
    with History.open(settings) as history:
        until = dataset.find_data_until(history, settings)
        cutoffs = dataset.list_cutoffs(history, settings, until)
        plans = fit.build_plans(settings, settings.churn, cutoffs, until)
        data = dict(dataset.load_datasets(history, settings, cutoffs, until))["churn"]
        plans = {30: plans[30]}
        fitted = fit.fit_target(history, settings, "churn", data, plans, progress=lambda _: None)
        catalog = history.catalog
    bundle = fitted.model
    assert "use_per_order_90d" in bundle.features
    assert bundle.catalog == catalog.version != BUILT_IN.version
    # Where a source is missing, an own feature that needs it counts as a missing value.
    without = data.frame.head(5).drop(columns="use_per_order_90d")
    rows = Scorer({"churn": bundle}, catalog).prepare(without, ["purchases"])
    assert rows.catalog.find_feature("use_per_order_90d").describe(2.0) == "2.0 uses an order in 90 days"
    assert set(without) != set(data.frame)
    assert rows.matrices["churn"].shape == (5, len(bundle.features))
