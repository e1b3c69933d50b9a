import json

import pytest

from features.core.errors import RegistryError
from monitoring.drift import drift_report


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
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["targets"]["churn"]["state"] == "stable"


def test_a_run_without_a_champion_says_what_to_do(company):
    with pytest.raises(RegistryError, match="training fit"):
        drift_report.run(company.settings)
