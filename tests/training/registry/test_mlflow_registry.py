"""Runs, versions and aliases in MLflow; and the champion, which changes whole or not at all."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException

from features.core.errors import RegistryError
from training.evaluation import plots
from training.evaluation.compare import FigureDifference, ModelComparison
from training.models import hyperparameters
from training.models.model import Model
from training.registry import mlflow_database, mlflow_registry, mlflow_runs, model_card, promotion_checks, promotion_log
from training.registry.promotion_checks import ChampionComparison


@pytest.fixture
def client(registered):
    """MLflow's own client, on the test's registry."""
    with mlflow_database.open_mlflow(registered.settings) as adapter:
        return adapter.MlflowClient()


@pytest.fixture(autouse=True)
def against(monkeypatch):
    """Nothing is held against the champion here (`test_checks` does that), but for what a test puts in by target."""
    found = {}
    monkeypatch.setattr(
        promotion_checks,
        "compare_with_champions",
        lambda _, bundles, __: dict.fromkeys(bundles, ChampionComparison()) | found,
    )
    return found


@pytest.fixture
def other(registered):
    """Another company in the same registry, never trained."""
    company = registered.settings.company.model_copy(update={"name": "Other Quay"})
    return registered.settings.model_copy(update={"company": company})


@pytest.fixture
def impatient():
    """MLflow waits 20 seconds for a locked database; here a tenth of one, which is how a long wait ends too."""

    def sooner(*args):
        statement, parameters = args[2], args[3]
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

    def connected(connection, _):
        connection.execute("PRAGMA busy_timeout = 100")

    engine = sqlalchemy.engine.Engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", sooner, retval=True)
    sqlalchemy.event.listen(engine, "connect", connected)
    yield
    sqlalchemy.event.remove(engine, "before_cursor_execute", sooner)
    sqlalchemy.event.remove(engine, "connect", connected)


@contextlib.contextmanager
def locked(settings):
    """Another process, as it were, writes to MLflow's database."""
    with contextlib.closing(sqlite3.connect(settings.paths.mlruns / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def champion(client, target="churn"):
    """The version behind the alias, None without one."""
    return aliases(client, target).get("champion")


def aliases(client, target="churn"):
    found = client.get_registered_model(f"small-quay-{target}").aliases
    return {alias: int(version) for alias, version in found.items()}


def test_a_run_has_its_parameters_and_what_it_learned_from(registered, client):
    run = client.get_run(registered.first)
    assert run.info.status == "FINISHED"
    assert run.data.params["num_leaves"] == str(hyperparameters.PARAMETERS["num_leaves"])
    assert run.data.params["seed"] == "7"
    assert run.data.params["churn_60d_plan"] == registered.fitted["churn"].results[60].plan.describe()
    assert run.data.tags["data_fingerprint"] == "0123456789abcdef"
    assert run.data.tags["company"] == "Small Quay"
    inputs = {i.dataset.name: (i.dataset, i.tags[0].value) for i in run.inputs.dataset_inputs}
    sample, context = inputs["churn: sample of the training snapshots"]
    assert (sample.digest, context) == ("0123456789abcdef", "training")
    assert json.loads(inputs["churn_60d: test"][0].profile)["num_rows"] == len(
        registered.fitted["churn"].results[60].test
    )


def test_a_run_is_named_by_its_verdicts_and_its_note_links_the_cards(registered, client):
    for run_id, upsell in ((registered.first, "signal"), (registered.second, "no signal")):
        run = client.get_run(run_id)
        assert run.info.run_name.startswith(f"churn: signal, upsell: {upsell}, learned until 20")
        note, e = run.data.tags["mlflow.note.content"], registered.fitted["churn"].results[30].evaluation
        assert f"| churn, 30 days | signal | {e.auc:.2f} ({e.auc_low:.2f} to {e.auc_high:.2f}) | " in note
        assert f"| upsell, 30 days | {upsell} |" in note
        assert f"/runs/{run_id}/artifacts/cards/churn.html)" in note
        assert e.reasons[0] in note


def test_a_run_has_the_figures_of_each_target_and_horizon_beside_the_baselines(registered, client):
    run = client.get_run(registered.first).data
    for target, horizon in (("churn", 30), ("churn", 60), ("upsell", 30)):
        evaluation, what = registered.fitted[target].results[horizon].evaluation, f"{target}_{horizon}d"
        for figure in ("rows", "base_rate", "auc", "auc_low", "auc_high", "ap", "brier", "ece", "lift_10"):
            assert run.metrics[f"{what}_{figure}"] == getattr(evaluation, figure)
        assert run.metrics[f"{what}_recency_auc"] == evaluation.baselines["recency"].auc
        assert run.metrics[f"{what}_rfm_logistic_ap"] == evaluation.baselines["rfm_logistic"].ap
        assert run.tags[f"{what}_verdict"] == "signal"


def test_a_run_has_a_picture_of_calibration_lift_and_precision_recall_for_each(registered, client):
    pictures = {Path(file.path).name for file in client.list_artifacts(registered.first, "plots")}
    targets = ("churn_30d", "churn_60d", "upsell_30d")
    kinds = ("calibration", "lift", "precision_recall", "ranking", "rates")
    assert pictures == {f"{t}_{kind}.svg" for t in targets for kind in kinds}


def test_a_run_keeps_the_settings_it_was_made_with(logged):
    folder = logged.settings.paths.mlruns / "artifacts" / logged.first / "artifacts"
    assert (folder / "garrison.toml").read_text() == logged.settings.file.read_text()


def test_the_signature_takes_floats_alone_and_gives_a_probability_for_each_horizon(registered, client):
    version = client.get_model_version("small-quay-churn", "1")
    signature = mlflow.models.get_model_info(version.source).signature
    assert signature.inputs.input_names() == [*registered.fitted["churn"].model.features]
    assert {column.type.name for column in signature.inputs.inputs} == {"double"}
    assert signature.outputs.input_names() == ["churn_30d", "churn_60d"]


def test_each_target_is_a_registered_model_and_each_run_a_version_of_it(registered, client):
    assert {m.name for m in client.search_registered_models()} == {"small-quay-churn", "small-quay-upsell"}
    versions = {int(v.version): v for v in client.search_model_versions("name = 'small-quay-upsell'")}
    assert {number: v.run_id for number, v in versions.items()} == {1: registered.first, 2: registered.second}
    assert [versions[n].tags["verdict"] for n in (1, 2)] == ["signal", "no_signal"]


def test_the_newest_version_is_the_challenger_and_none_is_champion_yet(registered, client):
    assert aliases(client) == {"challenger": 2}
    assert promotion_log.load_champions(registered.settings) == {}


def test_no_artifact_is_a_pickle(logged):
    files = [f for f in (logged.settings.paths.mlruns / "artifacts").rglob("*") if f.is_file()]
    assert {f.suffix for f in files} <= {".svg", ".toml", ".txt", ".json", ".yaml", ".parquet", ".html", ""}
    assert {f.name for f in files if not f.suffix} == {"MLmodel"}
    # Every protocol of pickle since the second begins with this byte.
    assert not [f for f in files if f.read_bytes()[:1] == b"\x80"]


def test_no_row_of_the_data_stands_beside_a_model_but_the_reference(logged):
    names = {f.name for f in (logged.settings.paths.mlruns / "artifacts" / "models").rglob("*") if f.is_file()}
    known = {"MLmodel", "bundle.json", "reference.parquet", "booster_30d.txt", "booster_60d.txt"}
    known |= {"card.html", "evaluation.json", "parity.parquet"}
    assert names - known == {"conda.yaml", "python_env.yaml", "requirements.txt"}


def test_promoting_makes_a_runs_models_the_champions(registered, client):
    done = mlflow_registry.promote(registered.settings, registered.first, reason="better")
    assert {t: (p.version, p.action, p.reason) for t, p in done.items()} == {
        "churn": ("churn-1", "promote", "better"),
        "upsell": ("upsell-1", "promote", "better"),
    }
    assert (champion(client), champion(client, "upsell")) == (1, 1)
    served = promotion_log.load_champions(registered.settings)
    assert {t: (b.version, b.run_id) for t, b in served.items()} == {
        "churn": ("churn-1", registered.first),
        "upsell": ("upsell-1", registered.first),
    }


@pytest.mark.usefixtures("client")
def test_the_model_loaded_from_the_registry_gives_the_champions_probabilities(registered):
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    bundle = promotion_log.load_champions(registered.settings)["churn"]
    frame = bundle.reference.head(50)
    matrix = bundle.matrix(frame)
    assert np.isnan(matrix).any()
    loaded = mlflow.pyfunc.load_model("models:/small-quay-churn@champion")
    columns = frame.assign(**dict(zip(bundle.features, matrix.T, strict=True)))[[*bundle.features]]
    found = loaded.predict(columns)
    assert list(found) == ["churn_30d", "churn_60d"]
    assert found.to_numpy().tobytes() == bundle.probabilities(matrix).tobytes()
    with pytest.raises(MlflowException):
        loaded.predict(columns.drop(columns="plan"))


def test_promoting_again_changes_nothing(registered, client):
    first = mlflow_registry.promote(registered.settings, registered.first, reason="better")
    again = mlflow_registry.promote(registered.settings, registered.first, reason="once more")
    assert again == first
    assert len(promotion_log.read_promotions(registered.settings)) == 2
    assert champion(client) == 1


def test_a_model_without_a_signal_is_not_promoted(registered, client):
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    done = mlflow_registry.promote(registered.settings, "latest", reason="newer")
    assert done["churn"].version == "churn-2"
    assert done["upsell"].startswith("upsell-2 stays a challenger: verdict: upsell_30d is no_signal (")
    assert (champion(client), champion(client, "upsell")) == (2, 1)
    assert {t: b.version for t, b in promotion_log.load_champions(registered.settings).items()} == {
        "churn": "churn-2",
        "upsell": "upsell-1",
    }


def test_a_model_without_a_signal_is_promoted_when_forced(registered, client):
    done = mlflow_registry.promote(registered.settings, registered.second, reason="must", force=True)
    assert done["upsell"].version == "upsell-2"
    assert champion(client, "upsell") == 2
    [kept] = [p.checks for p in promotion_log.read_promotions(registered.settings) if p.target == "upsell"]
    assert kept["verdict"].startswith("refused, and forced: upsell_30d is no_signal (")
    assert kept["parity"].startswith("passed: 0 of ")


def test_a_suspected_leak_is_not_promoted_even_when_forced(registered, client):
    version = client.get_model_version("small-quay-upsell", "2")
    file = registered.settings.paths.mlruns / version.tags["bundle"] / "evaluation.json"
    file.write_text(file.read_text().replace('"no_signal"', '"leak_suspected"'))
    done = mlflow_registry.promote(registered.settings, registered.second, reason="must", force=True)
    assert "upsell_30d is leak_suspected" in done["upsell"]
    assert champion(client, "upsell") is None
    assert done["churn"].version == "churn-2"


def test_a_model_worse_than_the_champion_stays_a_challenger_until_it_is_forced(registered, client, against):
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    worse = tuple(FigureDifference(f, 0.8, 0.7, -0.15, -0.05) for f in ("auc", "ap"))
    against["churn"] = ChampionComparison(
        "churn-1", {"churn_30d": ModelComparison(90, 0.1, (), worse, (0.0, 0.0), (0.1, 0.1), ())}, ""
    )
    done = mlflow_registry.promote(registered.settings, registered.second, reason="newer")
    assert done["churn"].startswith("churn-2 stays a challenger: champion: mean AUC -0.1000 against churn-1")
    assert aliases(client) == {"champion": 1, "challenger": 2}
    done = mlflow_registry.promote(registered.settings, registered.second, reason="all the same", force=True)
    assert done["churn"].checks["champion"].startswith("refused, and forced: mean AUC -0.1000")
    assert promotion_log.read_current(registered.settings)["churn"].reason == "all the same"
    assert aliases(client) == {"champion": 2}


def test_a_champion_is_no_challenger_any_more(registered, client):
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    assert aliases(client) == {"champion": 1, "challenger": 2}
    mlflow_registry.promote(registered.settings, "challenger", reason="better still")
    assert aliases(client) == {"champion": 2}
    mlflow_registry.rollback(registered.settings, "churn", reason="it was worse")
    assert aliases(client) == {"champion": 1}


def test_a_run_has_the_card_of_each_model_which_lies_with_it_too(registered, client):
    cards = {Path(file.path).name for file in client.list_artifacts(registered.first, "cards")}
    assert cards == {"churn.html", "upsell.html"}
    for target, version in mlflow_registry.find_versions(registered.settings, registered.first).items():
        page = (version.folder / model_card.FILE).read_text()
        assert registered.first in page
        assert f"<h1>Small Quay: who is about to {'leave' if target == 'churn' else 'buy more'}?</h1>" in page


def test_rollback_makes_the_champion_before_champion_again(registered, client):
    settings = registered.settings
    for run in (registered.first, registered.second):
        mlflow_registry.promote(settings, run, reason="better")
    done = mlflow_registry.rollback(settings, "churn", reason="it was worse")
    assert (done.action, done.version, done.reason) == ("rollback", "churn-1", "it was worse")
    assert champion(client) == 1
    assert promotion_log.load_champions(settings)["churn"].run_id == registered.first
    assert [p.version for p in promotion_log.read_promotions(settings) if p.target == "churn"] == [
        "churn-1",
        "churn-2",
        "churn-1",
    ]


def test_without_an_earlier_champion_there_is_nothing_to_roll_back_to(registered, client):
    with pytest.raises(RegistryError, match="no earlier champion of churn") as raised:
        mlflow_registry.rollback(registered.settings, "churn", reason="")
    assert raised.value.found == "no promotion at all"
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    with pytest.raises(RegistryError) as raised:
        mlflow_registry.rollback(registered.settings, "churn", reason="")
    assert raised.value.found == "only churn-1"
    assert champion(client) == 1


@pytest.mark.parametrize(
    "again",
    [
        lambda logged: mlflow_registry.promote(logged.settings, logged.first, reason="back"),
        lambda logged: mlflow_registry.rollback(logged.settings, "churn", reason="back"),
    ],
    ids=["promote", "rollback"],
)
def test_a_model_that_does_not_load_does_not_become_champion(registered, client, again):
    settings = registered.settings
    for run in (registered.first, registered.second):
        mlflow_registry.promote(settings, run, reason="better")
    earlier = promotion_log.read_promotions(settings)
    booster = settings.paths.mlruns / earlier[0].bundle / "booster_30d.txt"
    booster.write_text(booster.read_text()[:-100])
    with pytest.raises(RegistryError, match="is not a whole model"):
        again(registered)
    assert champion(client) == 2
    assert promotion_log.read_promotions(settings) == earlier


def test_an_unknown_run_is_an_error_that_names_it(registered):
    with pytest.raises(RegistryError, match="there is no run 123abc with models of Small Quay"):
        mlflow_registry.promote(registered.settings, "123abc", reason="")


def test_the_latest_run_is_the_newest_that_ended_well_and_has_models(registered, client):
    with mlflow_database.open_mlflow(registered.settings) as adapter:
        with adapter.start_run():
            pass
        with pytest.raises(KeyboardInterrupt), adapter.start_run():
            raise KeyboardInterrupt
    client.set_terminated(registered.second, "FAILED")
    done = mlflow_registry.promote(registered.settings, "latest", reason="the first")
    assert {p.run_id for p in done.values()} == {registered.first}


def test_a_company_never_trained_has_no_latest_run(other):
    with pytest.raises(RegistryError, match="Other Quay has no training run"):
        mlflow_registry.promote(other, "latest", reason="")


def test_a_run_killed_between_two_models_leaves_none_that_can_not_be_promoted(other, sound, client, monkeypatch):
    monkeypatch.setattr(plots, "draw_plots", lambda *_: ())

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            mlflow_runs.log_run(other, sound, fingerprint="0")
    [version] = client.search_model_versions("name = 'other-quay-churn'")
    assert client.search_model_versions("name = 'other-quay-upsell'") == []
    assert mlflow_registry.promote(other, version.run_id, reason="it is whole")["churn"].version == "churn-1"
    assert promotion_log.load_champions(other)["churn"].run_id == version.run_id


def test_a_run_without_a_signature_is_not_registered(other, fitted, client, monkeypatch):
    monkeypatch.setattr(plots, "draw_plots", lambda *_: ())
    monkeypatch.setattr(mlflow_runs, "_build_signature", lambda _: None)
    with pytest.raises(RegistryError, match="no signature for churn"):
        mlflow_runs.log_run(other, fitted, fingerprint="0")
    assert client.search_model_versions("name = 'other-quay-churn'") == []


def test_models_are_not_written_to_where_the_folder_once_was(registered, client, fitted):
    with pytest.raises(RegistryError, match="was moved after MLflow's database was made in it"):
        mlflow_runs.log_run(registered.settings, fitted, fingerprint="0")
    assert len(client.search_runs([client.get_experiment_by_name("small-quay").experiment_id])) == 2


@pytest.mark.usefixtures("impatient")
def test_a_locked_database_is_one_clear_error_and_promotes_nothing(registered, client, capfd):
    settings = registered.settings
    mlflow_registry.promote(settings, registered.first, reason="better")
    before = promotion_log.locate_log(settings).read_bytes()
    for act in (
        lambda: mlflow_registry.promote(settings, registered.second, reason="newer"),
        lambda: mlflow_registry.promote(settings, "latest", reason="newer"),
    ):
        with locked(settings), pytest.raises(RegistryError, match="can't be used") as raised:
            act()
        assert "\n" not in str(raised.value)
        assert "database is locked" in raised.value.found
        assert "Another process holds it" in raised.value.hint
        assert capfd.readouterr().err == ""
    assert promotion_log.locate_log(settings).read_bytes() == before
    assert champion(client) == 1


@pytest.mark.usefixtures("impatient")
def test_a_locked_database_rolls_nothing_back(registered, client):
    settings = registered.settings
    for run in (registered.first, registered.second):
        mlflow_registry.promote(settings, run, reason="better")
    before = promotion_log.locate_log(settings).read_bytes()
    with locked(settings), pytest.raises(RegistryError, match="database is locked"):
        mlflow_registry.rollback(settings, "churn", reason="")
    assert promotion_log.locate_log(settings).read_bytes() == before
    assert champion(client) == 2


@pytest.mark.usefixtures("impatient")
def test_a_database_locked_while_training_is_logged_registers_nothing(registered, client):
    with locked(registered.settings), pytest.raises(RegistryError, match="database is locked"):
        mlflow_runs.log_run(registered.settings, registered.fitted, fingerprint="0")
    assert aliases(client) == {"challenger": 2}
    assert len(client.search_model_versions("name = 'small-quay-churn'")) == 2
    assert mlflow.active_run() is None


def test_a_database_that_is_no_database_is_a_clear_error(registered):
    (registered.settings.paths.mlruns / "mlflow.db").write_text(
        "this is no database, and long enough to be read as one"
    )
    with pytest.raises(RegistryError, match="can't be used"):
        mlflow_registry.promote(registered.settings, "latest", reason="")


def test_who_comes_while_another_makes_the_database_waits_and_then_finds_it(registered, tmp_path):
    paths = registered.settings.paths.model_copy(update={"mlruns": tmp_path / "new"})
    settings = registered.settings.model_copy(update={"paths": paths})
    paths.mlruns.mkdir()
    with contextlib.closing(sqlite3.connect(paths.mlruns / "mlflow.lock", isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(mlflow_database.prepare, settings)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not (paths.mlruns / "mlflow.db").exists()
            lock.execute("COMMIT")
            waiting.result(timeout=60)
    assert sorted(file.name for file in paths.mlruns.iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_a_database_half_made_by_a_killed_process_is_made_anew(registered, tmp_path):
    paths = registered.settings.paths.model_copy(update={"mlruns": tmp_path / "killed"})
    paths.mlruns.mkdir()
    for name in ("mlflow.new", "mlflow.db"):
        with contextlib.closing(sqlite3.connect(paths.mlruns / name)) as half:
            half.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
    mlflow_database.prepare(registered.settings.model_copy(update={"paths": paths}))
    with contextlib.closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as made:
        tables = {name for (name,) in made.execute("SELECT name FROM sqlite_master")}
    assert "experiments" in tables
    assert "_alembic_tmp_tags" not in tables
    assert (paths.mlruns / "mlflow.db.harmed").exists()
    # One that holds runs is never put aside, whatever else is in it.
    with contextlib.closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as made:
        made.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
        made.execute("INSERT INTO runs (run_uuid) VALUES ('a')")
        made.commit()
    assert not mlflow_database._is_half_made(paths.mlruns / "mlflow.db")


def test_champions_are_found_where_the_whole_folder_was_moved(registered, tmp_path):
    mlflow_registry.promote(registered.settings, registered.first, reason="better")
    moved = tmp_path / "moved to"
    registered.settings.paths.mlruns.rename(moved)
    paths = registered.settings.paths.model_copy(update={"mlruns": moved})
    served = promotion_log.load_champions(registered.settings.model_copy(update={"paths": paths}))
    assert isinstance(served["churn"], Model)
    assert replace(served["churn"], version="") != replace(served["upsell"], version="")


def test_a_runs_models_are_found_by_its_id_or_alias(registered):
    for run, versions in ((registered.first, 1), ("latest", 2), ("challenger", 2)):
        found = mlflow_registry.load_models(registered.settings, run)
        assert {b.version for b in found.values()} == {f"churn-{versions}", f"upsell-{versions}"}
    mlflow_registry.promote(registered.settings, registered.first, reason="the first")
    found = mlflow_registry.load_models(registered.settings, "champion")
    assert {n: b.version for n, b in found.items()} == {"churn": "churn-1", "upsell": "upsell-1"}
    bundle = registered.fitted["churn"].model
    assert found["churn"].learned_until == bundle.learned_until is not None
    assert [h.text for h in found["churn"].horizon_models] == [h.text for h in bundle.horizon_models]


@pytest.mark.parametrize("run", ["champion", "0123456789abcdef"])
def test_models_of_a_run_that_is_not_there_are_an_error_that_says_so(registered, run):
    with pytest.raises(RegistryError, match=f"there is no run {run} with models of Small Quay"):
        mlflow_registry.load_models(registered.settings, run)
