"""What experiments claim, against a known truth: false claims, coverage, bias, power, and what is named.

Simulated companies, of which none of the code knows the truth (tests/support/lots.py). For each kind of lot: companies
without any effect that claim one at any of 24 monthly looks; companies with an effect whose interval misses it at any
look, or at the last. The lottery runs as the alerts run it, week by week. Writes var/bench/experiments.json.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from measure import write
from scipy.stats import chi2

from features.settings.cli import print_table, table
from monitoring.experiments.assignment import draw_lot
from monitoring.experiments.balance import SUSPICIOUS, compare_arms
from monitoring.experiments.effect import estimate_effect
from monitoring.experiments.experiment_store import LOTTERY
from monitoring.experiments.plan import compute_power
from tests.support.lots import compute_truth, design, simulate_company, simulate_draws, simulate_power

COMPANIES, LOOKS = 1_000, 24
# By kind of lot: share treated, and families a month.
KINDS = {"lottery": (0.5, 30), "holdout": (0.95, 100), "plays": (0.5, 20)}
EFFECT = 0.1
LOTTERIES, WEEKS = 300, 52
POWER_RUNS = 6_000
POWER = {"lottery": (30, 0.2, 0.5), "slow": (30, 0.1, 0.5), "holdout": (100, 0.2, 0.95)}
ASSIGNED = 100_000
MOVED = (0.1, 0.2, 0.3)  # of those not drawn, logged as drawn


def look(kind, effect, truth, seed):
    """One company: whether it claims an effect at any look, misses the truth at any, and at the last; its balance."""
    chance, units = KINDS[kind]
    made = simulate_draws(effect, months=LOOKS, units=units, seed=seed, chance=chance)
    looks = estimate_effect(made).looks
    claims = any(low > 0 or high < 0 for _, _, low, high in looks)
    missed = any(not low <= truth <= high for _, _, low, high in looks)
    *_, low, high = looks[-1]
    return claims, missed, not low <= truth <= high, compare_arms(made).is_suspicious


def run_lottery(effect, seed):
    """One company's lottery as the alerts run it: estimate, truth, share drawn, and share of the others alerted on."""
    made = simulate_company(effect, experiment=design(band=5, holdout=0.05), weeks=WEEKS, seed=seed)
    drawn = made.loc[made["purpose"] == LOTTERY].reset_index(drop=True)
    control = drawn.loc[~drawn["treated"]]
    estimate = estimate_effect(drawn)
    return estimate.effect, drawn["truth"].mean(), drawn["treated"].mean(), control["reached"].mean()


def force_imbalance(moved, seed):
    """A company in which somebody alerts on a share of those not drawn and logs them as drawn: whether it is named."""
    made = simulate_draws(0.0, months=LOOKS, units=30, seed=seed)
    random = np.random.default_rng(seed)
    made["treated"] |= random.random(len(made)) < moved
    return compare_arms(made).is_suspicious


def power_gap(kind):
    """The largest difference between the planned power and that of simulated experiments, over 24 months."""
    units, effect, chance = POWER[kind]
    planned = compute_power(units, retention=0.7, effect=effect, probability=chance, months=LOOKS).power
    simulated = simulate_power(units, effect=effect, chance=chance, months=LOOKS, runs=POWER_RUNS)
    return float(np.abs(np.array(planned) - simulated).max())


def balance_assignments():
    """The p-values of the sizes of the arms by stratum, of 100,000 assignments, for a holdout and an even lot."""
    random = np.random.default_rng(1)
    tier, decile = random.integers(0, 5, ASSIGNED), random.integers(0, 10, ASSIGNED)
    stratum = tier * 10 + decile
    p_values = {}
    for purpose, share in (("holdout", 0.05), ("lottery", 0.5)):
        lots = np.array([draw_lot(f"account-{i}", experiment="bench", purpose=purpose) for i in range(ASSIGNED)])
        sizes = np.bincount(stratum)
        drawn = np.bincount(stratum[lots < share], minlength=len(sizes))
        statistic = ((drawn - sizes * share) ** 2 / (sizes * share * (1 - share))).sum()
        p_values[purpose] = float(chi2.sf(statistic, len(sizes)))
    return p_values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    first, began = options.seed * 1_000_000, time.perf_counter()
    truth, figures = compute_truth(EFFECT), {"companies": COMPANIES, "looks": LOOKS, "seed": options.seed}
    rows = table("kind of lot", "false claims", "covered at every look", "at the planned end", "balance named falsely")
    with ProcessPoolExecutor() as pool:
        for kind in KINDS:
            seeds = range(first, first + COMPANIES)
            null = np.array([*pool.map(partial(look, kind, 0.0, 0.0), seeds, chunksize=25)])
            real = np.array([*pool.map(partial(look, kind, EFFECT, truth), seeds, chunksize=25)])
            own = {
                "false_claims": float(null[:, 0].mean()),
                "covered_every_look": 1 - float(real[:, 1].mean()),
                "covered_at_end": 1 - float(real[:, 2].mean()),
                "false_imbalance": float(null[:, 3].mean()),
            }
            figures |= {f"{kind}_{name}": value for name, value in own.items()}
            rows.add_row(kind, *(f"{value:.1%}" for value in own.values()))
        lotteries = np.array([*pool.map(partial(run_lottery, EFFECT), range(first, first + LOTTERIES), chunksize=10)])
        bias = lotteries[:, 0] - lotteries[:, 1]
        figures |= {
            "lottery_bias_points": 100 * float(bias.mean()),
            "lottery_bias_error_points": 100 * float(bias.std(ddof=1) / np.sqrt(LOTTERIES)),
            "lottery_drawn_share": float(lotteries[:, 2].mean()),
            "lottery_crossed_share": float(lotteries[:, 3].mean()),
        }
        gaps = dict(zip(POWER, pool.map(power_gap, POWER), strict=True))
        figures |= {f"power_gap_points_{kind}": 100 * gap for kind, gap in gaps.items()}
        for moved in MOVED:
            named = [*pool.map(partial(force_imbalance, moved), range(first, first + COMPANIES), chunksize=25)]
            figures[f"imbalance_named_{moved:.0%}".rstrip("%")] = float(np.mean(named))
    figures["imbalance_named"] = figures["imbalance_named_20"]
    figures["suspicious_below"] = SUSPICIOUS
    figures |= {f"assignment_p_{purpose}": p for purpose, p in balance_assignments().items()}
    figures["seconds"] = time.perf_counter() - began
    print_table(rows)
    write("experiments", figures, ("numpy", "scipy", "pandas"))


if __name__ == "__main__":
    main()
