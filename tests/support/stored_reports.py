"""Reports as the night stores them, for the pages that show them."""

EVIL = "<img src=x onerror=alert(1)>"


def build_report(names=(EVIL, "Beacon", "Cedar", "Dune")):
    """Return a report with an account of each name, which rose, fell, came and left in turn."""

    about = {"before": 0.1, "now": 0.3, "value": 10.0, "owner": "a@owners.test"}
    rows = [{"account_id": chr(65 + n), "name": name, **about} for n, name in enumerate(names)]

    def moves(rows):
        tiers = [{"tier": t, "accounts": 1, "value": 10.0, "top": rows[n : n + 3]} for n, t in enumerate("ABCDE")]
        return {"count": len(rows), "top": rows}, [tier for tier in tiers if tier["top"]]

    groups = {way: moves(rows[n::4]) for n, way in enumerate(("rose", "fell", "came", "left"))}
    revenue_group = {
        "accounts": 1,
        "amount": 5.0,
        "top": [{"account_id": "B", "name": "Beacon", "before": 5, "now": 0}],
    }
    return {
        "since": "2024-12-01T00:00:00+00:00",
        "until": "2025-01-01T00:00:00+00:00",
        "horizon": 90,
        "lead": 0,
        "accounts": [4, 4],
        "at_stake": [100.0, 120.0],
        "groups": {way: group for way, (group, _) in groups.items()},
        "episodes": {"opened": 1, "recovered": 0, "left": 0, "open": 1},
        "note": "",
        "period": "2024-12",
        "fiscal": "2024-Q4",
        "breakdown": {
            "owners": [{"owner": "a@owners.test", "accounts": 1, "rose": 1, "before": 1.0, "now": 2.0}],
            "course": [
                {"as_of": "2024-12-01T00:00:00+00:00", "accounts": 4, "at_risk": 100.0},
                {"as_of": "2025-01-01T00:00:00+00:00", "accounts": 4, "at_risk": 120.0},
            ],
        },
        "parts": {
            "by_tier": {way: tiers for way, (_, tiers) in groups.items()},
            "revenue": {
                "basis": "terms",
                "before": 100.0,
                "now": 95.0,
                "paying": 4,
                "nrr": 0.95,
                "grr": 0.9,
                "groups": dict.fromkeys(("lost", "cut", "added", "new"), revenue_group),
            },
            "definition": "NRR is a share.",
            "cohorts": [{"month": "2024-11-01", "accounts": 2, "kept": [1.0, 0.5]}],
            "upsell": {"accounts": 1, "amount": 3.0, "offered": 1, "bought": 0},
            "promises": {"made": 1, "due": 1, "kept": 0, "late": 0, "broken": 1, "top": []},
        },
    }


def build_sheet(names):
    """Return a sheet of owners of these names, half of which stand out."""
    times = {"tickets": 9, "median": 2.0, "p90": 9.0, "in_time": 0.9}
    service = {"tickets": 9, "first_response": times, "resolution": times, "csat": 4.0, "ratings": 3, "due": 4}
    service |= {"answered": 2, "answered_share": 0.5, "outcomes": {"saved": 1, "left": 1}}
    risk = {"accounts": 40, "left": 9, "expected": 5.0, "ratio": 1.4, "low": 1.1, "high": 1.9, "retention": 0.8}
    risk |= {"value_left": 9.0, "value_expected": 5.0}
    row = {"team": "", "accounts": 40, "value": 1000.0, "service": service, "risk": risk, "risk_before": risk}
    owners = [{**row, "name": name, "flag": "answer for" if n % 2 else ""} for n, name in enumerate(names)]
    return {
        "made_at": "2025-01-01T00:00:00+00:00",
        "since": "2024-01-01T00:00:00+00:00",
        "until": "2025-01-01T00:00:00+00:00",
        "days": 90,
        "currency": "EUR",
        "targets": {"first_response": 8.0, "resolution": 72.0, "csat": None},
        "rule": "Below 20 accounts nothing can be told.",
        "least": 20,
        "owners": owners,
        "teams": [{**row, "name": name, "flag": ""} for name in names],
        "total": {**row, "name": "", "flag": ""},
    }
