"""The queries of the example dashboard for Grafana."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs/examples/deploy/grafana-dashboard.json"


def read_queries() -> list[str]:
    """Return the queries of all panels and variables."""
    board = json.loads(FILE.read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return panels + [variable["query"] for variable in board["templating"]["list"]]
