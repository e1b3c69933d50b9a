"""Settings of no company but what the state database and deliveries ask for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any


def make_state_settings(state: str, var: Path, **more: Any) -> Any:
    """Make settings with the address of a state database, its folder, and what else is given."""
    company = SimpleNamespace(name="Harbour")
    return SimpleNamespace(company=company, file=Path("garrison.toml"), state=state, var=var, **more)
