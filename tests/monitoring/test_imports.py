"""Which heavy libraries a command loads: each costs a tenth of a second to seconds, on every start."""

import subprocess
import sys

import pytest

HEAVY = {"evidently", "matplotlib", "mlflow", "numba", "scipy.stats", "sklearn", "statsmodels", "optuna", "dask", "dlt"}
FIRST = "from training.models.lightgbm_import import import_lightgbm as first; first()"
NOTHING = "pass"


@pytest.mark.parametrize(
    ("first", "modules", "also"),
    [
        # What features check and build import.
        (
            NOTHING,
            "features.diagnostics.data_report, features.engine.snapshot_cache, training.targets.label_overview",
            {"scipy", "lightgbm"},
        ),
        # What serving score, monitoring drift and the night's first steps import.
        (FIRST, "serving.batch.run, monitoring.drift.drift_report, monitoring.reports.overview", set()),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_use(first, modules, also):
    program = f"import sys\n{first}\nimport {modules}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert not (HEAVY | also) & set(done.stdout.split())


def test_the_parser_of_commands_loads_next_to_nothing():
    program = "import sys\nimport features.__main__, serving.__main__, monitoring.__main__\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert not (HEAVY | {"pandas", "pyarrow", "duckdb", "ibis", "sqlalchemy", "lightgbm"}) & set(done.stdout.split())
