"""Simulated experiments with a known truth: units drawn by lot, and a company whose owners have too little time."""

import json

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY
from features.settings import Capacity, Experiment
from features.state.tables import EXPERIMENT_DRAWS
from monitoring.alerts.choice import Candidate, choose
from monitoring.alerts.draws import Lots
from monitoring.alerts.queries import AccountScore
from monitoring.alerts.signals import Signal
from monitoring.binding.bindings import AccountBinding
from monitoring.experiments.confidence_sequence import FIRST, bound_mean
from monitoring.experiments.effect import LEAST_PER_ARM, compute_unit_values
from monitoring.experiments.experiment_store import PastDraw, begin_experiment

WEEK = 7


def simulate_draws(effect, *, months=24, units=30, seed=1, chance=0.5):
    """Draw units whose retention depends on their score, and on the alert by an effect that differs among them.

    `truth` is each unit's expected effect: its mean is what is estimated.
    """
    random = np.random.default_rng(seed)
    n = months * units
    score = random.beta(2, 4, n)
    treated = random.random(n) < chance
    # An alert on an account that is hardly at risk does less.
    truth = np.clip(1 - score + 2.5 * effect * score, 0, 1) - (1 - score)
    kept = random.random(n) < 1 - score + truth * treated
    return pd.DataFrame(
        {
            "unit": [f"u{i:05d}" for i in range(n)],
            "as_of": np.repeat(np.arange(months), units) * 30 * DAY,
            "treated": treated,
            "probability": chance,
            "kept": kept.astype(float),
            "score": score,
            "value": random.lognormal(8, 1, n),
            "tier": random.choice(list("ABCDE"), n),
            "truth": truth,
        }
    )


def compute_truth(effect):
    """The expected effect on a unit of `simulate_draws`."""
    return float(simulate_draws(effect, months=1, units=2_000_000, seed=0)["truth"].mean())


def simulate_power(units, *, effect, chance, months, runs, retention=0.7, seed=3):  # noqa: PLR0913  # all named
    """The share of simulated experiments whose sequence has excluded 0 by each month, nothing being known of units."""
    random, crossed = np.random.default_rng(seed), np.zeros(months)
    n, blind = units * months, np.empty((units * months, 0))
    month = np.repeat(np.arange(months), units)
    for _ in range(runs):
        treated = random.random(n) < chance
        kept = (random.random(n) < retention + effect * treated).astype(float)
        values = compute_unit_values(blind, treated, kept, np.full(n, chance), month)
        smaller = np.minimum(np.cumsum(treated), np.cumsum(~treated))
        sequence = bound_mean(values, first=max(FIRST, int(np.searchsorted(smaller, LEAST_PER_ARM)) + 1))
        looks = np.arange(units, n + 1, units) - 1
        crossed += np.maximum.accumulate((sequence.low[looks] > 0) | (sequence.high[looks] < 0))
    return crossed / runs


def simulate_company(  # noqa: PLR0913  # all named
    effect, *, experiment, weeks=104, owners=3, new=8, hours=2.5, seed=1
):
    """Run the lots of the alerts over weeks in which more accounts are at risk than owners have time for.

    Each owner has time for five alerts a week, and eight accounts come under risk, a third of them twins of one family.
    An account is at risk for some three weeks. Returns the draws of all purposes with `kept`, the unit's own expected
    effect as `truth`, and `reached`: whether it was alerted on within its 90 days.
    """
    random = np.random.default_rng(seed)
    at_risk, drawn, rows, alerted = {}, [], [], {}
    for week in range(weeks):
        at = week * WEEK * DAY
        at_risk = {a: r for a, r in at_risk.items() if r["ends"] > week}
        for owner in range(owners):
            for number in range(new):
                unit = f"{seed}-{week}-{owner}-{number}"
                for account in [unit, f"{unit}-twin"] if number % 6 == 0 else [unit]:
                    at_risk[account] = {
                        "unit": unit,
                        "owner": f"{owner}@owners.test",
                        "score": float(random.beta(4, 4)),
                        "value": float(random.lognormal(8, 1)),
                        "ends": week + 1 + int(random.geometric(1 / 3)),
                    }
        bindings = {a: AccountBinding(a, a, None, None, {}, None, "B", r["unit"]) for a, r in at_risk.items()}
        lots = Lots(experiment, is_drawing=True, at=at, days=90, worsened=0.15, currency="EUR", drawn=tuple(drawn))
        bindings |= {d.unit: AccountBinding(d.unit, None, None, None, {}, None, None, d.unit) for d in drawn}
        lots = lots.recognise_families(bindings, {})
        candidates = [
            Candidate(
                Signal(a, "churn", True, r["score"], r["value"], ""),
                r["score"] * r["value"],
                "revive_usage",
                r["owner"],
                unit=r["unit"],
            )
            for a, r in at_risk.items()
            if r.get("opened") is None
        ]
        units = {r["unit"] for r in at_risk.values() if r.get("opened") is not None}
        choices = lots.apply(
            choose(lots.enter(candidates, alerted=units), Capacity(hours=hours), opened=[], band=lots.band)
        )
        for choice in choices:
            if choice.chosen:
                account = choice.candidate.signal.account_id
                at_risk[account]["opened"] = week
                alerted.setdefault(choice.candidate.unit, []).append(at)
        scores = {a: AccountScore(a, r["score"], in_cohort=True, value=r["value"]) for a, r in at_risk.items()}
        for row in lots.find_draws(choices, bindings, scores):
            rows.append(row | {"as_of": at})
            drawn.append(PastDraw(row["purpose"], row["unit"], row["treated"], at, row["score"]))
    frame = pd.DataFrame(rows).sort_values(["as_of", "unit"], kind="stable").reset_index(drop=True)
    span = 90 * DAY
    frame["reached"] = [
        any(at <= then < at + span for then in alerted.get(unit, ()))
        for unit, at in zip(frame["unit"], frame["as_of"], strict=True)
    ]
    score = frame["score"].to_numpy()
    frame["truth"] = np.clip(1 - score + 2.5 * effect * score, 0, 1) - (1 - score)
    kept = random.random(len(frame)) < 1 - score + frame["truth"] * frame["reached"]
    return frame.assign(kept=kept.astype(float))


def design(**settings):
    """An experiment's settings."""
    return Experiment(name="simulated", **settings)


def write_experiment(company, made, *, purpose="lottery", start="2023-01-02", **settings):
    """Write draws into a company's state database, with purchases that make of each account what `kept` says.

    Args:
        company: Of the monitoring tests.
        made: Of `simulate_draws`.
        purpose: Of the draws.
        start: The day of the first.
        settings: Of the experiment.
    """
    begin = pd.Timestamp(start, tz="UTC")
    at = [begin + pd.Timedelta(days=int(us) // DAY) for us in made["as_of"]]
    rows = []
    for unit, day, kept in zip(made["unit"], at, made["kept"], strict=True):
        rows.append(f"{unit},{day - pd.Timedelta(days=30):%Y-%m-%d},10")
        rows += [f"{unit},{day + pd.Timedelta(days=40):%Y-%m-%d},10"] * int(kept)
    company.accounts(dict.fromkeys(made["unit"], "one@owners.test"))
    end = at[-1] + pd.Timedelta(days=200)
    company.purchases([*rows, f"{made['unit'].iloc[0]},{end:%Y-%m-%d},10"])
    experiment = design(**settings)
    text = company.file.read_text().split("[experiment]")[0]
    lines = [f"{key} = {json.dumps(value)}" for key, value in experiment.design.items() if key != "plays"]
    pairs = [f"[[experiment.plays]]\ncause = '{p.cause}'\nplays = {list(p.plays)}" for p in experiment.plays]
    company.file.write_text("\n".join([text, f'[experiment]\nname = "{experiment.name}"', *lines, *pairs, ""]))
    drawn = made.assign(
        experiment=experiment.name,
        purpose=purpose,
        account_id=made["unit"],
        as_of=[int(day.timestamp()) * 1_000_000 for day in at],
        arm=None,
        rank=1,
        currency="EUR",
        owner="one@owners.test",
        drawn_at=0,
    )
    columns = [c.name for c in EXPERIMENT_DRAWS.c]
    with company.state.writing() as connection:
        begin_experiment(connection, experiment, at=int(drawn["as_of"].min()), now=0)
        connection.execute(sa.insert(EXPERIMENT_DRAWS), drawn[columns].astype(object).to_dict("records"))
    return drawn
