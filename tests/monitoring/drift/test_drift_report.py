import json

import pytest

from features.core.errors import RegistryError
from features.engine import snapshots
from monitoring.drift import drift_report
from serving.batch import run


def test_a_run_compares_the_cohort_with_the_champions_reference(company):
    owners = {f"a{n:03}": "o@owners.test" for n in range(90)}
    company.accounts(owners)
    bought = [f"{a},2024-05-{1 + n % 28:02},{n % 40}" for n, a in enumerate(owners)]
    (company.folder / "purchases.csv").write_text("id,at,amount\n" + "\n".join(bought) + "\n")
    company.promote()
    report = drift_report.run(company.settings)
    verdict = report.verdicts["churn"]
    assert (verdict.rows, verdict.reference_rows) == (90, 40)
    assert {"spend_90d", "score churn 90 days"} == {c.name for c in verdict.columns}
    assert "churn-1" in report.pages["churn"].read_text()
    assert report.pages["churn"].name == "2024-05-29-churn.html"
    assert "churn, as of 2024-05-29" in "\n".join(report.lines())
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert (plain["state"], plain["targets"]["churn"]["state"]) == ("ok", "ok")
    stored = json.loads(report.pages["churn"].with_suffix(".json").read_text())
    assert stored["verdict"] == {k: v for k, v in plain["targets"]["churn"].items() if k != "page"}
    assert stored["evidently"] is None  # nothing moved


def test_the_snapshot_that_was_scored_is_compared_and_not_built_again(company, monkeypatch):
    owners = {f"a{n:03}": "o@owners.test" for n in range(90)}
    company.accounts(owners)
    bought = [f"{a},2024-05-{1 + n % 28:02},{n % 40}" for n, a in enumerate(owners)]
    (company.folder / "purchases.csv").write_text("id,at,amount\n" + "\n".join(bought) + "\n")
    company.promote()
    built = drift_report.run(company.settings, with_pages=False)
    run.score_accounts(company.settings, None, as_of=built.as_of)
    with monkeypatch.context() as patch:
        for name in ("build_parts", "build_table"):
            patch.setattr(snapshots, name, lambda *_: pytest.fail("built again"))
        stored = drift_report.run(company.settings, as_of=built.as_of, with_pages=False)
    assert stored.verdicts == built.verdicts
    (company.folder / "purchases.csv").write_text("id,at,amount\n" + "\n".join(bought[:40]) + "\n")
    assert drift_report.run(company.settings, as_of=built.as_of, with_pages=False).verdicts != built.verdicts


def test_a_run_without_a_champion_says_what_to_do(company):
    with pytest.raises(RegistryError, match="training fit"):
        drift_report.run(company.settings)


def test_a_broken_snapshot_prints_everything_and_exits_with_1(company, finish, tmp_path):
    company.promote(reads=("spend_90d", "gone_30d"), gone_30d=1.0)
    status, out, err = finish(company, "drift", "--json", str(tmp_path / "drift.json"))
    assert (status, err) == (1, "")
    assert "churn, as of 2025-01-01: hold" in out
    assert "gone_30d: is not in the snapshot" in out
    assert [line.split(": ")[0] for line in out.splitlines()[-2:]] == ["  page", "all verdicts"]
    assert max(map(len, out.splitlines()[:-2])) <= 80
    assert json.loads((tmp_path / "drift.json").read_text())["state"] == "hold"
