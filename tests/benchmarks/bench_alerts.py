"""`make bench-alerts [COMPANY=FOLDER]`: half a year of weekly alerts on tidewater, held against its hidden truth.

Five alerts a week an owner. COMPANY is a folder left in var/bench/alerts: its champion is used again.
"""

import contextlib
import json
import re
import shutil
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY
from features.definitions.plays import PLAYS
from features.samples.tidewater import simulate_truth
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.tables import ALERT_CHOICES, EPISODES
from monitoring.alerts.run_alerts import run_alerts
from serving.batch import run
from serving.scoring.score_table import Explain
from tests.support.commands import run_command
from training.registry import promotion_log

EXAMPLE = Path("docs/examples/tidewater.toml").absolute()
FOLDER = Path("var/bench/alerts")
TRAINED, END = "2025-07-01", date(2026, 1, 1)
WEEKS = [date(2025, 7, 1) + timedelta(weeks=n) for n in range(26)]
SAMPLE = ("sample", "tidewater", "--out", "tidewater", "--accounts", "3000", "--months", "24")
RISKS = ("churn", "silent_decline", "service_failure", "renewal_near")
HORIZON = 90
# A decline is to be flagged within so many days; it counts if it lasts as long as the second.
WITHIN, LASTS = 120, 60
FLAP_DAYS = 30
# Hidden states that drive accounts away, each with the causes that a reason may name; what is pinched by a price gives
# seats back.
TROUBLES = {
    "misfit": {"usage"},
    "fading": {"usage"},
    "faded": {"usage"},
    "dormant": {"usage"},
    "aggrieved": {"service"},
    "bitter": {"service"},
    "pinched": {"price", "purchases"},
}


def prepare(folder):
    """Make the company, train and promote its champions on what was known by July."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    toml = re.sub(r"(?m)^(\w+ += \{ path = )\".*/tidewater/(\w+)\"", r'\1"tidewater/\2"', EXAMPLE.read_text())
    (folder / "tidewater.toml").write_text(toml)
    of = ("--config", "tidewater.toml")
    promote = ("training", "promote", "latest", "--reason", "a benchmark", *of)
    for words in (("features", *SAMPLE), ("training", "fit", "--as-of", TRAINED, *of), promote):
        done = run_command(*words, cwd=folder)
        if done.returncode:
            sys.exit(done.stderr)


def raise_alerts(folder):
    """Score and alert each week, as nights would; returns the episodes and the choices."""
    with contextlib.chdir(folder):
        settings = load_settings(Path("tidewater.toml"))
        (settings.var / "garrison.db").unlink(missing_ok=True)
        for day in WEEKS:
            as_of = datetime(day.year, day.month, day.day, tzinfo=UTC)
            run.score_accounts(settings, None, as_of=as_of, explain=Explain.ABOVE)
            with database.open(settings) as store, History.open(settings) as history:
                champions = promotion_log.load_champions(settings)
                done = run_alerts(settings, store, history, champions, as_of=as_of)
            print(
                f"{day}: {len(done.opened)} opened, {len(done.continued)} continue, {len(done.closed)} closed",
                flush=True,
            )
        with database.open(settings) as store, store.reading() as connection:
            frames = [pd.read_sql(sa.select(table), connection) for table in (EPISODES, ALERT_CHOICES)]
    return frames


def read_truth(folder):
    """Return the truth at each week, with each account's yearly value as its snapshot had it."""
    truth = simulate_truth(WEEKS).to_pandas()
    truth["at"] = truth["as_of"].astype("datetime64[us, UTC]").astype("int64")
    files = (folder / "var/tidewater/scores").glob("*.parquet")
    values = pd.concat(
        pd.read_parquet(f, columns=["account_id", "value"]).assign(
            at=int(datetime.strptime(f.stem, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 10**6
        )
        for f in files
    )
    owners = pd.read_parquet(folder / "tidewater/accounts", columns=["account_id", "owner_email"])
    return truth.merge(values, on=["account_id", "at"]).merge(owners, on="account_id")


def measure_value(episodes, truth):
    """Compare what alerts caught with what a perfect ranking would have, by owner and week, at equal load.

    Each account counts once. Perfect is the order of true probability times value (`expected`), or of what came true
    (`hindsight`). What is caught is the value of the accounts alerted on, times the true probability of leaving; and
    the value of those that truly left within the horizon.
    """
    mature = truth[truth["churned_90d"].notna()].assign(
        expected=lambda t: t["p_churn_90d"] * t["value"], came=lambda t: t["churned_90d"].astype(float) * t["value"]
    )
    opened = episodes[episodes["kind"].isin(RISKS)].sort_values("opened_as_of")
    opened = opened.drop_duplicates("account_id").rename(columns={"opened_as_of": "at"})
    caught = opened[["account_id", "at"]].merge(mature, on=["account_id", "at"])
    load = caught.groupby(["at", "owner_email"]).size()
    perfect = {}
    for order in ("expected", "came"):
        taken, total = set(), {"expected": 0.0, "came": 0.0}
        for at, rows in mature.groupby("at"):
            ranked = rows[~rows["account_id"].isin(taken)].sort_values(order, ascending=False)
            limit = ranked["owner_email"].map(load.get(at, pd.Series(dtype=int))).fillna(0)
            chosen = ranked[ranked.groupby("owner_email").cumcount() < limit]
            taken |= set(chosen["account_id"])
            total = {key: total[key] + chosen[key].sum() for key in total}
        perfect[order] = total
    return {
        "alerts": len(caught),
        "value_share_of_perfect": float(caught["expected"].sum() / perfect["expected"]["expected"]),
        "value_share_of_perfect_realised": float(caught["came"].sum() / perfect["expected"]["came"]),
        "value_share_of_hindsight": float(caught["came"].sum() / perfect["came"]["came"]),
        "alerts_that_left": float(caught["churned_90d"].astype(float).mean()),
        "base_rate": float(mature["churned_90d"].astype(float).mean()),
    }


def measure_lead(episodes, folder):
    """Measure from the first alert of the spell that was open when an account left, to its leaving."""
    bought = pd.read_parquet(folder / "tidewater/purchases", columns=["account_id", "term_ends_at"])
    last = bought.groupby("account_id")["term_ends_at"].max().astype("datetime64[us, UTC]").astype("int64")
    begin, end = (int(np.datetime64(day, "us").astype("int64")) for day in (WEEKS[0], END))
    left = last[(last > begin + HORIZON * DAY) & (last < end)]
    risk = episodes[episodes["kind"].isin(RISKS)].assign(ended=episodes["account_id"].map(left))
    known = risk[risk["ended"].notna() & (risk["opened_as_of"] < risk["ended"])]
    known = known[known["closed_as_of"].isna() | (known["closed_as_of"] >= known["ended"])]
    lead = (known.groupby("account_id")["ended"].first() - known.groupby("account_id")["opened_as_of"].min()) / DAY
    return {"left": len(left), "left_alerted": float(len(lead) / len(left)), "median_lead_days": float(lead.median())}


def measure_flaps(episodes):
    """Measure the share of the episodes that ended by themselves and opened anew within 30 days."""
    episodes = episodes.sort_values("opened_as_of")
    following = episodes.groupby(["account_id", "kind"])["opened_as_of"].shift(-1)
    ended = episodes["outcome"].isin(["recovered", "expired"])
    flapped = ended & ((following - episodes["closed_as_of"]) <= FLAP_DAYS * DAY)
    return {"episodes": len(episodes), "ended": int(ended.sum()), "flaps": float(flapped.sum() / len(episodes))}


def measure_silence(choices, truth):
    """Measure how many of the planted silent declines were flagged, and how many accounts were at any run."""
    flagged = choices[choices["kind"] == "silent_decline"][["account_id", "as_of"]].rename(columns={"as_of": "at"})
    truth = truth.merge(flagged.assign(flag=True), on=["account_id", "at"], how="left").fillna({"flag": False})
    truth["began"] = (
        truth["silent_since"].astype("datetime64[us, UTC]").astype("int64").where(truth["silent_since"].notna())
    )
    truth["age"] = (truth["at"] - truth["began"]) / DAY
    first = int(np.datetime64(WEEKS[0], "us").astype("int64"))
    spells = truth[truth["began"].between(first, first + (26 * 7 - WITHIN) * DAY)]
    grouped = spells.groupby(["account_id", "began"])
    lasted = grouped["age"].max() >= LASTS
    caught = spells[spells["age"] <= WITHIN].groupby(["account_id", "began"])["flag"].any()
    share = truth.groupby("at")["flag"].mean()
    return {
        "silent_declines": int(lasted.sum()),
        "silent_recall": float(caught[lasted[lasted].index].mean()),
        "silent_flagged_mean": float(share.mean()),
        "silent_flagged_most": float(share.max()),
    }


def measure_reasons(episodes, truth, folder):
    """Measure how often the reasons of alerts name what truly troubles the account.

    Only accounts in trouble have a cause to be named. The first cause is right if the chance of leaving falls once it
    is taken away, that is, once the account is as it was before this trouble; where another cause is named, taking
    that one away changes nothing.
    """
    opened = episodes[episodes["kind"] == "churn"].rename(columns={"opened_as_of": "at"})
    states = opened[["account_id", "at"]].merge(truth[["account_id", "at", "state"]], on=["account_id", "at"])
    troubled = states[states["state"].isin(TROUBLES)]
    named = pd.concat(
        pd.read_parquet(f, columns=["account_id", "churn_90d_drivers"]).assign(
            at=int(datetime.strptime(f.stem, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 10**6
        )
        for f in (folder / "var/tidewater/scores").glob("*.parquet")
    )
    told = troubled.merge(named, on=["account_id", "at"]).dropna(subset="churn_90d_drivers")
    causes = [
        [PLAYS[d["play"]].cause for d in json.loads(text) if d["actionable"] and d["contribution"] > 0]
        for text in told["churn_90d_drivers"]
    ]
    causes = [[cause for cause in found if cause != "renewal"] for found in causes]
    truly = [TROUBLES[state] for state in told["state"]]
    first = pd.Series([bool(found) and found[0] in true for found, true in zip(causes, truly, strict=True)])
    some = pd.Series([bool(set(found) & true) for found, true in zip(causes, truly, strict=True)])
    has_cause = pd.Series([bool(found) for found in causes])
    return {
        "alerts_in_trouble": len(told),
        "alerts_in_trouble_share": float(len(troubled) / len(states)),
        "without_a_cause_named": float(1 - has_cause.mean()),
        "planted_cause_named": float(some.mean()),
        "first_cause_right": float(first[has_cause].mean()),
        "first_cause_right_by_state": {
            state: [int(n), float(share)]
            for state, (n, share) in first.groupby(told["state"].to_numpy()).agg(["size", "mean"]).iterrows()
        },
    }


def main():
    """Measure, print the table and write it for machines."""
    company = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "company"
    if len(sys.argv) <= 1:
        prepare(company)
    episodes, choices = raise_alerts(company)
    truth = read_truth(company)
    load = choices[choices["chosen"]].groupby(["as_of", "owner"]).size()
    figures = {
        "most_alerts_of_an_owner_a_week": int(load.max()),
        "mean_alerts_of_an_owner_a_week": float(load.sum() / (len(WEEKS) * truth["owner_email"].nunique())),
    }
    figures |= measure_value(episodes, truth) | measure_lead(episodes, company) | measure_flaps(episodes)
    figures |= measure_silence(choices, truth)
    figures |= measure_reasons(episodes, truth, company)
    figures["by_kind"] = {k: int(n) for k, n in episodes["kind"].value_counts().items()}
    figures["by_outcome"] = {str(k): int(n) for k, n in episodes["outcome"].fillna("open").value_counts().items()}
    measure.write("alerts", figures, ("lightgbm", "duckdb"))


main()
