"""The example notebook runs from its first cell to its last, as it stands in docs/."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from training import api

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "tidewater.toml"


@pytest.fixture
def executed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    # The example with the one target and horizon that the notebook looks into.
    toml = re.sub(r"(?ms)^\[upsell\].*?(?=^\[)", "", EXAMPLE.read_text(encoding="utf-8")).replace("[30, 90]", "[90]")
    (tmp_path / "home" / EXAMPLE.parent.relative_to(ROOT)).mkdir(parents=True)
    (tmp_path / "home" / EXAMPLE.relative_to(ROOT)).write_text(toml, encoding="utf-8")
    monkeypatch.setenv("GARRISON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GARRISON_ACCOUNTS", "250")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return notebook


def test_the_example_notebook_runs_and_ends_in_figures(executed):
    outputs = [o for cell in executed.cells if cell.cell_type == "code" for o in cell.outputs]
    shown = "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)
    assert "snapshots of" in shown
    assert "churn_90d" in shown
    assert "chance of leaving within 90 days" in shown
    assert "auc" in shown
    assert "EstimatorComparison(churn, 90 days" in shown


def test_the_notebook_is_kept_with_its_results_and_no_place_on_a_machine():
    file = ROOT / "docs" / "notebook.ipynb"
    text = file.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [o for cell in code for o in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert {"image/svg+xml", "text/html"} <= {kind for o in outputs for kind in o.get("data", {})}
    assert "/tmp/" not in text
    assert "/home/" not in text
    assert len(text) < 150_000


def test_the_page_for_data_scientists_names_all_of_the_api():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in api.__all__ if name not in page] == ["EstimatorComparison", "FittedTarget", "LabelledRows"]
