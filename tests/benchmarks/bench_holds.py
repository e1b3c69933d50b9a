"""False holds of healthy sources, and how soon harmed ones are held, by size of the company.

Companies are simulated by day (tests/support/daily_company.py): three years of which the nights of the last one are
looked at, and a young company of which all nights from its seventeenth week on are. Writes var/bench/holds.json.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date

import numpy as np
from measure import write

from features.diagnostics.source_health import check_source
from features.settings.cli import print_table, table
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


def count_false_holds(accounts):
    """Nights that a healthy company of this size is held, of all looked at, with what is held; and those watched."""
    young = (DailyCompany(growth=1.5), YOUNG_DAYS, date(2024, 3, 4))
    companies = [(company, DAYS, date(2023, 1, 2)) for company in COMPANIES.values()] + [young]
    nights = NIGHTS // len(companies)
    holds, watches, looked_at = [], 0, 0
    for seed, (company, days, first) in enumerate(companies):
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


def measure_size(accounts):
    """The nights looked at, those held and watched, the detection, and the CPU seconds, of companies of this size."""
    began = time.process_time()
    looked_at, held, watched = count_false_holds(accounts)
    harmable = [
        simulate_company(COMPANIES["steady"], accounts=accounts, days=DAYS, seed=100 + n) for n in range(TRIALS)
    ]
    return looked_at, held, watched, measure_detection(harmable), time.process_time() - began


def main():
    nights, holds, watched, cpu, detection = 0, 0, 0, 0.0, {}
    with ProcessPoolExecutor(len(SIZES)) as pool:
        for accounts, results in zip(SIZES, pool.map(measure_size, SIZES), strict=True):
            looked_at, held, watches, detection[accounts], seconds = results
            print(f"{accounts:>6,} accounts: {len(held)} of {looked_at} healthy nights held, {watches} watched")
            print(*held, sep="\n", end="\n" * bool(held), flush=True)
            nights, holds, watched, cpu = nights + looked_at, holds + len(held), watched + watches, cpu + seconds
    shown = table("nights until held", *(f"n = {n:,}" for n in SIZES), right=[f"n = {n:,}" for n in SIZES])
    for name in PROFILE_HARMS:
        shown.add_row(name, *(describe(detection[n][name]) for n in SIZES))
    print_table(shown)
    figures = {"nights": nights, "false_holds": holds, "false_hold_rate": holds / nights, "goal": GOAL}
    figures |= {"watched_rate": watched / nights, "cpu_seconds": cpu}
    write("holds", figures | {"detection": {f"n_{n}": d for n, d in detection.items()}}, ("numpy",))


def describe(found):
    nights = f"{found['nights']:.0f}" if found["nights"] else "-"
    return nights if found["share"] == 1 else f"{nights} ({found['share']:.0%} found)"


if __name__ == "__main__":
    main()
