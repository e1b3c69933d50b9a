"""Which test files start first, and which share a worker.

A file that takes a minute and starts last makes the run a minute longer; so the longest start first.
"""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling

# Each starts a Java of a gigabyte: one after another on one worker, never two at once.
SPARK = ("tests/features/engine/test_sql_engines.py", "tests/serving/batch/test_spark.py")
# By CPU time, after those on Spark; the others follow in the order of folders.
LONGEST = (
    "tests/monitoring/demo/test_run.py",
    "tests/monitoring/night/test_night.py",
    "tests/features/sources/test_validation.py",
    "tests/features/proposal/test_recipes.py",
    "tests/features/sources/test_row_versions.py",
    "tests/features/sources/test_table_cache.py",
    "tests/features/sources/test_file_forms.py",
    "tests/serving/batch/test_run.py",
    "tests/training/fitting/test_dask.py",
    "tests/features/diagnostics/test_leak_tests.py",
    "tests/training/diagnostics/test_leakage.py",
    "tests/serving/schemas/test_openapi.py",
    "tests/serving/api/test_workers.py",
    "tests/training/test_commands.py",
    "tests/training/test_notebook.py",
    "tests/serving/api/test_state.py",
    "tests/serving/events/test_rescoring.py",
    "tests/monitoring/drift/test_tidewater.py",
    "tests/training/fitting/test_fit.py",
    "tests/training/fitting/test_backtest.py",
    "tests/serving/delivery/test_deliver.py",
    "tests/monitoring/gate/test_harms.py",
    "tests/serving/test_recorded_scores.py",
    "tests/monitoring/test_killed.py",
    "tests/training/registry/test_mlflow_registry.py",
    "tests/training/targets/test_labels.py",
    "tests/training/targets/test_merges.py",
    "tests/serving/schemas/test_event_requests.py",
    "tests/features/sources/test_identity.py",
    "tests/features/engine/test_snapshot_cache.py",
    "tests/features/sources/test_posted_events.py",
)
_PLACES = {file: place for place, file in enumerate((*SPARK, *LONGEST))}


def place_file(nodeid: str) -> int:
    """Return the place of a test's file in the order of a run."""
    return _PLACES.get(nodeid.split("::", maxsplit=1)[0], len(_PLACES))


class FileScheduling(LoadScopeScheduling):
    """Gives each file to one worker, and all that run on Spark to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "spark" if file in SPARK else file
