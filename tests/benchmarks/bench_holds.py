"""False holds of healthy sources, and how soon harmed ones are held, by size of the company.

Companies are simulated by day (tests/support/daily_company.py): three years of which the nights of the last one are
looked at, and a young company of which all nights from its seventeenth week on are. Scores are simulated too: each
account's log-odds wander about its own mean, the season moves them all, accounts come and go. `--seed` draws other
companies than those that the bounds were tuned on. Writes var/bench/holds.json.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd
from measure import write

from features.diagnostics.source_health import check_source
from features.settings.cli import print_table, table
from serving.gate.account_counts import judge_account_counts
from serving.gate.score_shift import measure_score_shifts, select_reasons
from serving.gate.scored_run import ScoredRun
from tests.support.daily_company import COMPANIES, DailyCompany, simulate_company
from tests.support.profile_harms import PROFILE_HARMS

SIZES = (50, 200, 1_000, 10_000)
NIGHTS, DAYS, YOUNG_DAYS = 500, 1_090, 460
LONGEST = 35  # nights after a harm began, until which it is looked for
TRIALS = 4
GOAL = 1 / 200


def judge(profiles, day, sources):
    """The findings on these sources of the night after so many days."""
    seen = {table: profile.until(day) for table, profile in profiles.items()}
    return [f for table in sources for f in check_source(seen[table], [p for t, p in seen.items() if t != table])]


def simulate_runs(accounts, gap, random):
    """Yield healthy runs, one every `gap` days: a tenth of the accounts goes and a fifth comes in a year."""
    means = random.normal(-2.5, 1.2, accounts)
    wander, names = random.normal(0, 0.8, accounts), np.arange(accounts)
    start, kept = datetime(2024, 1, 1, tzinfo=UTC), 0.97**gap
    for night in range(0, NIGHTS * gap, gap):
        wander = kept * wander + np.sqrt(1 - kept**2) * random.normal(0, 0.8, len(wander))
        stays = random.random(len(names)) > 0.1 * gap / 365
        new = random.poisson(0.2 * len(names) * gap / 365)
        means = np.concatenate([means[stays], random.normal(-2.5, 1.2, new)])
        wander = np.concatenate([wander[stays], random.normal(0, 0.8, new)])
        names = np.concatenate([names[stays], np.arange(new) + names.max(initial=0) + 1])
        scores = 1 / (1 + np.exp(-means - wander - 0.2 * np.sin(2 * np.pi * night / 365)))
        at, index = start + timedelta(days=night), pd.Index(names.astype(str), dtype=object)
        yield ScoredRun(
            str(night), at, {"churn": "churn-1"}, index, {"churn_90d": ("churn", 90)}, {"churn_90d": scores}
        )


def count_score_holds(accounts, seed):
    """Healthy nights, half of them a day and half a month after the last run, that the scores or accounts hold."""
    held, looked_at = [], 0
    for gap, nights in ((1, NIGHTS // 2), (30, NIGHTS // 2)):
        runs = simulate_runs(accounts, gap, np.random.default_rng([seed, accounts, gap]))
        before = next(runs)
        for run, _ in zip(runs, range(nights), strict=False):
            reasons = [*judge_account_counts(run, before), *select_reasons(measure_score_shifts(run, before, {}))]
            held += [f"  {reason}" for reason in reasons if reason.state == "hold"][:1]
            looked_at, before = looked_at + 1, run
    return looked_at, held


def count_false_holds(accounts, first_seed):
    """Nights that a healthy company of this size is held, of all looked at, with what is held; and those watched."""
    young = (DailyCompany(growth=1.5), YOUNG_DAYS, date(2024, 3, 4))
    companies = [(company, DAYS, date(2023, 1, 2)) for company in COMPANIES.values()] + [young]
    nights = NIGHTS // len(companies)
    holds, watches, looked_at = [], 0, 0
    for seed, (company, days, first) in enumerate(companies, first_seed):
        profiles = simulate_company(company, accounts=accounts, days=days, seed=seed, first=first)
        least = 119 if days == YOUNG_DAYS else days - 364
        for day in np.linspace(least, days, nights).astype(int):
            findings = judge(profiles, int(day), profiles)
            looked_at += 1
            holds += [f"  {f}" for f in findings if f.severity == "hold"][:1]
            watches += any(f.severity == "watch" for f in findings)
    return looked_at, holds, watches


def measure_detection(companies):
    """By harm, nights until a hold names the source: the median of the companies, and the share found in time."""
    detection = {}
    for name, (source, harm, _) in PROFILE_HARMS.items():
        nights = [find_night(profiles, source, harm, DAYS - LONGEST - 60 * n) for n, profiles in enumerate(companies)]
        share = float(np.mean(np.isfinite(nights)))
        # The median of companies most of which are never held is no figure.
        detection[name] = {"share": share, "nights": float(np.median(nights)) if share > 0.5 else None}
    return detection


def find_night(profiles, source, harm, since):
    """The nights from a harm's first day until the source is held; infinite where it never is."""
    harmed = profiles | {source: harm(profiles[source], since)}
    for night in range(1, LONGEST + 1):
        if any(finding.severity == "hold" for finding in judge(harmed, since + night, [source])):
            return night
    return np.inf


def measure_size(accounts, seed):
    """The nights looked at, those held and watched, the detection, and the CPU seconds, of companies of this size."""
    began = time.process_time()
    looked_at, held, watched = count_false_holds(accounts, seed)
    scored, held_by_scores = count_score_holds(accounts, seed)
    harmable = [
        simulate_company(COMPANIES["steady"], accounts=accounts, days=DAYS, seed=seed + 100 + n) for n in range(TRIALS)
    ]
    counts = looked_at, held, watched, scored, held_by_scores
    return counts, measure_detection(harmable), time.process_time() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    totals, holds, score_holds, cpu, detection = np.zeros(3, int), 0, 0, 0.0, {}
    with ProcessPoolExecutor(len(SIZES)) as pool:
        sizes = zip(SIZES, pool.map(partial(measure_size, seed=options.seed), SIZES), strict=True)
        for accounts, (counts, detection[accounts], seconds) in sizes:
            looked_at, held, watches, scored, held_by_scores = counts
            print(
                f"{accounts:>6,} accounts: {len(held)} of {looked_at} healthy nights held by sources, {watches} watched"
            )
            print(f"{'':>15} {len(held_by_scores)} of {scored} held by scores or accounts")
            print(*held, *held_by_scores, sep="\n", end="\n" * bool(held or held_by_scores), flush=True)
            totals += looked_at, watches, scored
            holds, score_holds, cpu = holds + len(held), score_holds + len(held_by_scores), cpu + seconds
    nights, watched, scored = (int(total) for total in totals)
    shown = table("nights until held", *(f"n = {n:,}" for n in SIZES), right=[f"n = {n:,}" for n in SIZES])
    for name in PROFILE_HARMS:
        shown.add_row(name, *(describe(detection[n][name]) for n in SIZES))
    print_table(shown)
    figures = {"nights": nights, "false_holds": holds, "false_hold_rate": holds / nights, "goal": GOAL}
    figures |= {"score_nights": scored, "score_false_holds": score_holds, "seed": options.seed}
    figures |= {"watched_rate": watched / nights, "cpu_seconds": cpu}
    write("holds", figures | {"detection": {f"n_{n}": d for n, d in detection.items()}}, ("numpy",))


def describe(found):
    nights = f"{found['nights']:.0f}" if found["nights"] else "-"
    return nights if found["share"] == 1 else f"{nights} ({found['share']:.0%} found)"


if __name__ == "__main__":
    main()
