"""`make bench-owners [ACCOUNTS=8000]`: whether the sheet of owners ranks them by their skill, on tidewater.

Twenty owners of known skill see by themselves that accounts are in trouble and save them or not. The able were given
the sick accounts, so raw retention ranks by what they were given. Scores are the true chances at each month's start of
accounts that nobody calls, so no model's error is in the figures; what the sheet makes of them is the product's
(`compare_groups` of the spells of a year, or of two). Kendall's tau of each with true skill, by seed and on average.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial

import measure
import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from features.core.timestamps import DAY
from features.samples import tidewater
from features.samples.truth import compute_chances
from features.settings.cli import print_table, table
from monitoring.reports.owner_risk import compare_groups

OWNERS, MONTHS, END, HORIZON = 20, 30, date(2026, 1, 1), 90
SEEDS = range(1, 7)
# By name: months between spells, and spells back from the last whose outcome is known.
PERIODS = {"one_year": 4, "two_years": 8}


def simulate_spells(accounts, seed):
    """Live one company through; return its spells, each row with owner, and the owners' skill."""
    span = tidewater._Span.ending(END, MONTHS)
    company = tidewater._Company(span, seed, is_cared_for=True, owned=OWNERS / accounts)
    rows, skill = [], {}
    for chunk, start in enumerate(range(0, accounts, tidewater.CHUNK)):
        numbers = range(start, min(start + tidewater.CHUNK, accounts))
        life = company.simulate_chunk(numbers, tidewater._streams(seed, chunk))
        skill |= {f"{chunk}-{n}": value for n, value in enumerate(life.owners.skill)}
        for moment in life.history.moments[:-3][::-3]:
            chance = compute_chances(life.people.traits.of(moment.account), moment.state, moment.as_of, HORIZON)
            rows.append(
                pd.DataFrame(
                    {
                        "account_id": [f"{start + n}" for n in moment.account],
                        "as_of": moment.as_of * DAY,
                        "score": chance.churn,
                        "value": 1.0,
                        "left": life.history.outcomes.churned(moment, HORIZON).astype(float),
                        "owner": [f"{chunk}-{n}" for n in life.people.owner[moment.account]],
                    }
                )
            )
    return pd.concat(rows, ignore_index=True), skill


def rank_owners(accounts, seed):
    """Return Kendall's tau with skill of the sheet's ratio and of raw retention, by period."""
    spells, skill = simulate_spells(accounts, seed)
    found = {}
    for name, count in PERIODS.items():
        instants = sorted(spells["as_of"].unique())[-count:]
        mine = spells[spells["as_of"].isin(instants)].reset_index(drop=True)
        told = compare_groups(mine.drop(columns="owner"), mine["owner"])
        names = [owner for owner in told if told[owner].ratio is not None]
        skills = [skill[owner] for owner in names]
        found[name] = (
            float(kendalltau(skills, [-told[owner].ratio for owner in names]).statistic),
            float(kendalltau(skills, [told[owner].retention for owner in names]).statistic),
        )
    return found


def main():
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 8_000
    began = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        by_seed = dict(zip(SEEDS, pool.map(partial(rank_owners, accounts), SEEDS), strict=True))
    figures = {"accounts": accounts, "owners": OWNERS, "seeds": len(SEEDS)}
    rows = table("period", "tau of the sheet", "tau of raw retention", "seeds that have both")
    for name in PERIODS:
        sheet, raw = np.array([by_seed[seed][name] for seed in SEEDS]).T
        both = float(((sheet >= 0.6) & (raw <= 0.3)).mean())
        figures |= {f"{name}_tau": float(sheet.mean()), f"{name}_tau_raw": float(raw.mean()), f"{name}_both": both}
        figures |= {f"{name}_tau_least": float(sheet.min()), f"{name}_tau_raw_most": float(raw.max())}
        rows.add_row(name.replace("_", " "), f"{sheet.mean():.2f}", f"{raw.mean():.2f}", f"{both:.0%}")
    figures["seconds"] = time.perf_counter() - began
    print_table(rows)
    measure.write("owners", figures | {"by_seed": by_seed}, ("scipy", "pandas"))


if __name__ == "__main__":
    main()
