"""`make bench-loop`: five rounds of alert, save, retrain on tidewater, by what becomes of the rows that alerts touched.

The company begins with a year and a half without alerts and trains. Then each week the riskiest accounts of each owner
are told of, owners act or don't, and some accounts are saved; every half a year it trains anew on what came of that.
Simulated in one pass, day by day, with the sample's own owners, calls and truth, and training's own treatments; the
features are plain counts of the past and the trees plain LightGBM, so that every remedy is tried on several companies.
`bench_loop_product.py` runs the same through the product's commands.

Each round's model scores the same rows of a company that nobody ever alerted on, held against its exact chances: no
luck of labels is in the figures.

    bench_loop.py [ACCOUNTS] [COMPANIES] [REMEDY,…] [able]

With `able`, owners are abler than any company's (`able_owners`), get ten letters a week each, and figures go to
loop_able.json.
"""

import sys
import time
from datetime import date

import lightgbm as lgb
import measure
import numpy as np
import pandas as pd
import pyarrow as pa
from able_owners import strengthen_owners

from features.core.auc import auc
from features.core.timestamps import DAY
from features.samples import owners, population, responder, tickets, tidewater, usage
from features.samples.contacts import CAUSES, Care
from features.samples.history import simulate_lives
from features.samples.responder import Letter
from features.samples.truth import compute_chances
from training.fitting.treatment import Treatments, repeat_rows
from training.models.calibration import fit_calibrator

MONTHS, END, HORIZON = 42, date(2026, 1, 1), 90
ROUNDS = (18, 24, 30, 36, 42)  # months after the beginning
REMEDIES = ("ignore", "leave_out", "weigh", "column")
PER_WEEK, AGAIN = 5, 60  # alerts of an owner a week; days until an account may be told of anew
WINDOWS = (7, 30, 90)
TREES = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 60, "lambda_l2": 5}
FIXED = {"verbose": -1, "num_threads": 1, "seed": 7, "deterministic": True, "force_row_wise": True}
ROUNDS_OF_TREES, CALIBRATED_ON = 150, 3
BINS = 10


class Diary:
    """What every account did on every day, as daily counts: `counts[name][day, account]`."""

    def __init__(self, first, days, accounts):
        names = ["rows", "uses", "errors", "tickets", "urgent", "price", "escalated", "csat", "answers"]
        names += [f"feature_{n}" for n in range(len(usage.FEATURES))]
        self.first, self.counts = first, {name: np.zeros((days, accounts), np.float32) for name in names}

    def write_usage(self, day, rows):
        n, day = self.counts["rows"].shape[1], day - self.first
        for name, weights in (("rows", None), ("uses", rows["count"]), ("errors", rows["errors"])):
            self.counts[name][day] = np.bincount(rows["account"], weights, minlength=n)
        for feature in range(len(usage.FEATURES)):
            mine = rows["feature"] == feature
            self.counts[f"feature_{feature}"][day] = np.bincount(rows["account"][mine], minlength=n)

    def write_tickets(self, day, rows):
        n, day = self.counts["rows"].shape[1], day - self.first
        price = tickets.TOPICS.index("price")
        told = {
            "tickets": None,
            "urgent": rows["priority"] == 3,
            "price": rows["topic"] == price,
            "escalated": rows["escalated"],
            "csat": rows["csat"],
            "answers": rows["csat"] > 0,
        }
        for name, weights in told.items():
            self.counts[name][day] = np.bincount(rows["account"], weights, minlength=n)

    def build_features(self, people, day, who):
        """Counts of the windows before a day, and the contract."""
        traits, end = people.traits.of(who), day - self.first
        sums = {
            (name, w): values[max(0, end - w) : end, who].sum(axis=0)
            for name, values in self.counts.items()
            for w in WINDOWS
        }
        known = np.minimum(day - np.maximum(people.start[who], self.first), 90)
        columns = [*sums.values(), known, day - people.start[who], traits.terms.days_left(day), traits.terms.length]
        columns += [traits.plan, people.size[who], people.seats[who], traits.terms.indexed, traits.terms.nearing(day)]
        for name in ("rows", "uses", "tickets"):
            columns.append(sums[name, 30] / (sums[name, 90] + 1))
        for feature in range(len(usage.FEATURES)):
            columns.append(sums[f"feature_{feature}", 30] / (sums["rows", 30] + 1))
        columns += [sums["csat", 90] / np.maximum(sums["answers", 90], 1), sums["errors", 30] / (sums["uses", 30] + 1)]
        return np.column_stack(columns).astype(np.float64), self._find_causes(sums)

    def _find_causes(self, sums):
        """What a letter would say is wrong: by the plainest signs."""
        service = (sums["urgent", 30] + sums["escalated", 30] > 0) | (sums["errors", 30] > 0.05 * sums["uses", 30] + 2)
        return np.where(sums["price", 30] > 0, "price", np.where(service, "service", "usage"))


class Model:
    """LightGBM, calibrated on the latest cutoffs that it can be."""

    def __init__(self, rows, labels, cutoffs, extra=None):
        self.has_column = extra is not None
        matrix = rows if extra is None else np.column_stack([rows, extra])
        late = np.isin(cutoffs, np.unique(cutoffs)[-CALIBRATED_ON:])
        early = self._train(matrix[~late], labels[~late])
        slope = fit_calibrator(early.predict(matrix[late], raw_score=True), labels[late])
        self.calibrator = slope
        self.booster = self._train(matrix, labels)

    @staticmethod
    def _train(matrix, labels):
        return lgb.train(TREES | FIXED, lgb.Dataset(matrix, labels), ROUNDS_OF_TREES)

    def score(self, rows):
        matrix = np.column_stack([rows, np.zeros(len(rows))]) if self.has_column else rows
        return self.calibrator(self.booster.predict(matrix, raw_score=True))


class LivingCompany(Care):
    """A company that is alerted on and retrains while it lives: `act` is called on each of its days."""

    def prepare(self, people, team, *, diary, control, remedy):
        self.per_week = PER_WEEK if (team.skill < 1).any() else 2 * PER_WEEK
        self.people, self.diary, self.control, self.remedy = people, diary, control, remedy
        names = population.name_owners(np.arange(len(team.skill)), 0)
        self.team = pa.table({"owner_email": names, "acts": team.acts, "load": team.load})
        self.addresses = population.name_owners(people.owner, 0).to_pylist()
        self.ids, self.number = people.ids.to_pylist(), {a: i for i, a in enumerate(people.ids.to_pylist())}
        months = pd.date_range(END - pd.DateOffset(months=MONTHS), END, freq="MS").to_numpy().astype("M8[D]")
        self.cutoffs = [int(day) for day in months.astype(np.int64)]
        self.rounds = {self.cutoffs[m]: n for n, m in enumerate(ROUNDS)}
        self.left = np.full(len(people.start), np.iinfo(np.int64).max)
        self.rows, self.model, self.letters, self.contacts, self.results = {}, None, [], [], []
        self.spoken = np.full(len(people.start), -(10**6))
        self.told, self.exposed, self.scores = [], [], []
        self.before = np.zeros(len(people.start), bool)
        return self

    def act(self, day, state, in_force):
        """Note who left at midnight, train and alert when it is time, and let owners act."""
        self.left[self.before & ~in_force] = day
        self.before = in_force.copy()
        if day in self.cutoffs:
            who = np.flatnonzero(in_force & (self.people.start < day))
            self.rows[day] = who, self.diary.build_features(self.people, day, who)[0]
        if day in self.rounds:
            self.retrain(day)
        if self.model is not None and (day - self.cutoffs[ROUNDS[0]]) % 7 == 0:
            self.alert(day, in_force)
        return super().act(day, state, in_force)

    def alert(self, day, in_force):
        who = np.flatnonzero(in_force & (self.people.start < day) & (day - self.spoken >= AGAIN))
        rows, causes = self.diary.build_features(self.people, day, who)
        score = self.model.score(rows)
        order = np.lexsort([-score, self.people.owner[who]])
        rank = np.arange(len(who)) - np.searchsorted(self.people.owner[who][order], self.people.owner[who][order])
        chosen = order[(rank < self.per_week) & (score[order] > self.threshold)]
        self.exposed += [*self.key(who, day)]
        self.scores += [*score]
        self.told += [*self.key(who[chosen], day)]
        self.spoken[who[chosen]] = day
        sent = [
            Letter(f"{self.ids[who[i]]}-{day}", self.ids[who[i]], self.addresses[who[i]], str(causes[i]), day, score[i])
            for i in chosen
        ]
        planned = responder.plan_contacts(sent, self.team, self.contacts[-5_000:])
        self.letters += sent
        self.contacts += planned
        for contact in planned:
            pair = (np.array([self.number[contact.account_id]]), np.array([CAUSES.index(contact.cause)]))
            old = self.planned.get(contact.day)
            self.planned[contact.day] = pair if old is None else tuple(map(np.concatenate, zip(old, pair, strict=True)))

    def retrain(self, day):
        """Learn from all rows whose label is mature; judge the model on the company without alerts."""
        parts = [(c, *self.rows[c]) for c in self.cutoffs if c + HORIZON <= day and c >= self.cutoffs[3]]
        cutoffs = np.concatenate([np.full(len(who), c) for c, who, _ in parts])
        who, rows = np.concatenate([w for _, w, _ in parts]), np.concatenate([r for *_, r in parts])
        labels = ((self.left[who] >= cutoffs) & (self.left[who] < cutoffs + HORIZON)).astype(float)
        treated, weights = self.find_treated(who, cutoffs, day)
        kept, extra = np.arange(len(who)), None
        if self.remedy == "column":
            extra = treated.astype(float)
        elif self.remedy != "ignore":
            kept = kept[~treated]
        if self.remedy == "weigh":
            kept = repeat_rows(kept, weights, seed=7)
        self.model = Model(rows[kept], labels[kept], cutoffs[kept], None if extra is None else extra[kept])
        recent = rows[cutoffs == cutoffs.max()]
        self.threshold = 1.5 * self.model.score(recent).mean()
        result = judge(self.model, self.control) | {"treated": float(treated.mean()), "calls": len(self.contacts)}
        self.results.append(result)

    def find_treated(self, who, cutoffs, day):
        if not self.told:
            return np.zeros(len(who), bool), np.ones(len(who))
        order = np.argsort(self.exposed, kind="stable")
        found = Treatments(
            pd.Index(self.ids), np.sort(self.told), np.array(self.exposed)[order], np.array(self.scores)[order]
        )
        ids, starts = pd.Series(np.array(self.ids)[who]), cutoffs * DAY
        ends = np.minimum(self.left[who], cutoffs + HORIZON) * DAY
        treated = found.find_treated(ids, starts, starts + HORIZON * DAY)
        return treated, found.compute_weights(ids, starts, ends, known_by=day * DAY)

    @staticmethod
    def key(who, day):
        return who.astype(np.int64) * 10**10 + day * 86_400


def live(accounts, seed, remedy, control, *, acts=True):
    """Simulate one company to its end; returns the figures of each round, or its rows and chances where nobody acts."""
    span, streams = tidewater._Span.ending(END, MONTHS), tidewater._streams(seed, 0)
    people = population.populate(streams["population"], numbers=range(accounts), first=span.first, days=span.days)
    diary = Diary(span.first, span.days, accounts)
    team = owners.draw_owners(streams["owners"], int(people.owner.max()) + 1, differ=False)
    care = LivingCompany.draw(streams["care"], people, team, [])
    care = care.prepare(people, team, diary=diary, control=control, remedy=remedy) if acts else None
    emit = usage.emit, tickets.emit

    def keep(original, write):
        def emit_and_write(rng, people, today):
            rows = original(rng, people, today)
            write(today.day, rows)
            return {"account": rows["account"][:0]}

        return emit_and_write

    usage.emit, tickets.emit = keep(emit[0], diary.write_usage), keep(emit[1], diary.write_tickets)
    try:
        history = simulate_lives(people, streams, first=span.first, until=span.until, as_ofs=span.as_ofs, care=care)
    finally:
        usage.emit, tickets.emit = emit
    if acts:
        care.retrain(span.until)
        made = care.list_made()["effect"]
        return care.results, {"calls": len(made), "saved": float((made > 0).mean()), "harmed": float((made < 0).mean())}
    moments = history.moments[10::6]
    rows = np.concatenate([diary.build_features(people, m.as_of, m.account)[0] for m in moments])
    chance = [compute_chances(people.traits.of(m.account), m.state, m.as_of, HORIZON).churn for m in moments]
    return rows, np.concatenate(chance)


def judge(model, control):
    """Hold a model's scores against the exact chances: AUC, and calibration by tenths beside the noise of outcomes."""
    rows, chance = control
    score = model.score(rows)
    gaps, noise = [], []
    for part in np.array_split(np.argsort(score), BINS):
        gaps.append(abs(score[part].mean() - chance[part].mean()))
        noise.append(np.sqrt((chance[part] * (1 - chance[part])).sum() * 2 / np.pi) / len(part))
    figures = {"ece": np.mean(gaps), "ece_noise": np.mean(noise), "mean": score.mean(), "mean_true": chance.mean()}
    return {"auc": compute_true_auc(score, chance), **{name: float(value) for name, value in figures.items()}}


def compute_true_auc(score, chance):
    """Each row leaves with its chance and stays with the rest: the AUC that outcomes give on average."""
    labels, weights = np.repeat([1.0, 0.0], len(score)), np.concatenate([chance, 1 - chance])
    return float(auc(labels, np.concatenate([score, score]), weights))


def main():
    accounts, seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000, range(7, 10)
    if len(sys.argv) > 2:
        seeds = range(7, 7 + int(sys.argv[2]))
    remedies = sys.argv[3].split(",") if len(sys.argv) > 3 else REMEDIES
    is_able = len(sys.argv) > 4 and sys.argv[4] == "able"
    began = time.perf_counter()
    control = live(accounts, 101, "ignore", None, acts=False)
    print(
        f"control: {len(control[1]):,} rows, the true chances reach AUC {compute_true_auc(control[1], control[1]):.4f}"
    )
    if is_able:
        strengthen_owners()
    figures = {"accounts": accounts, "companies": len(seeds), "control_rows": len(control[1])}
    figures["mean_true"] = float(control[1].mean())
    figures["oracle_auc"] = compute_true_auc(control[1], control[1])
    by_round = {}
    for remedy in remedies:
        for seed in seeds:
            results, acted = live(accounts, seed, remedy, control)
            by_round[f"{remedy}_{seed}"] = {"rounds": results, "acted": acted}
            shown = "  ".join(f"{r['auc']:.4f}/{r['ece']:.4f}" for r in results)
            print(f"{remedy:<10} seed {seed}: AUC/ECE {shown}; {acted}", flush=True)
        mine = [by_round[f"{remedy}_{seed}"]["rounds"] for seed in seeds]
        figures |= {f"{remedy}_auc_{n + 1}": float(np.mean([r[n]["auc"] for r in mine])) for n in range(len(ROUNDS))}
        figures |= {f"{remedy}_ece_{n + 1}": float(np.mean([r[n]["ece"] for r in mine])) for n in range(len(ROUNDS))}
        figures |= {f"{remedy}_mean_{n + 1}": float(np.mean([r[n]["mean"] for r in mine])) for n in range(len(ROUNDS))}
        figures[f"{remedy}_auc_falls"] = figures[f"{remedy}_auc_1"] - figures[f"{remedy}_auc_{len(ROUNDS)}"]
    figures["ece_noise"] = float(np.mean([r["ece_noise"] for r in mine[0]]))
    figures["seconds"] = time.perf_counter() - began
    measure.write("loop_able" if is_able else "loop", figures | {"by_round": by_round}, ("lightgbm",))


if __name__ == "__main__":
    main()
