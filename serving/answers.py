"""What the HTTP service answers, apart from HTTP: scores by id and of posted histories, and the models behind them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self

import numpy as np

from features.catalog import Catalog
from features.contract import EVENTS
from features.errors import GarrisonError
from features.instants import instant
from features.settings import Settings
from serving import online, reasons
from serving.online import Online
from serving.refusal import Fault, Refusal
from serving.responses import Driver, Failed, Results, Scored, TargetScore
from serving.schema import Asked, Posted, Rejected, rejected
from serving.scorer import Rows, Scorer
from training import promotions

_log = logging.getLogger("bentoml.garrison")

Answer = Scored | Failed


@dataclass(frozen=True)
class Answers:
    """One set of models and one snapshot; another set makes another of these, and takes its place whole."""

    settings: Settings
    scorer: Scorer
    online: Online

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """With the champions and the newest snapshot.

        Raises:
            GarrisonError: There is no champion, or something stored can't be read.
        """
        scorer = champions(settings)
        return cls(settings, scorer, Online.load(settings, scorer))

    def score(self, asked: Asked) -> Results:
        """Every item's scores, or what was wrong with it."""
        answers: dict[int, Answer] = {}
        for i, item in enumerate(asked.items):
            if isinstance(item, Rejected):
                answers[i] = Failed(account_id=item.account_id, error=item.error)
        by_id = {i: item for i, item in enumerate(asked.items) if isinstance(item, str)}
        answers |= self._by_id(by_id, asked)
        as_of = asked.as_of or datetime.now(UTC)
        for group in _same_tables({i: item for i, item in enumerate(asked.items) if isinstance(item, dict)}):
            answers |= self._posted(group, as_of, drivers=asked.drivers)
        return Results(results=tuple(answers[i] for i in range(len(asked.items))))

    def account(self, account_id: str) -> Scored:
        """The scores of one account at the newest snapshot.

        Raises:
            Refusal: There is no such account, or no snapshot.
        """
        answer = self._by_id({0: account_id}, Asked(None, drivers=True, items=()))[0]
        if isinstance(answer, Failed):
            raise Refusal(HTTPStatus.NOT_FOUND, answer.error.code, answer.error.message)
        return answer

    def model(self) -> dict[str, Any]:
        """The models that score now, and the snapshot behind scores by id."""
        rows = self.online.rows
        return {
            "models": {target: _card(self.scorer, target) for target in self.scorer.bundles},
            "catalog": self.scorer.catalog.version,
            "snapshot": None
            if rows is None or self.online.as_of is None
            else {"as_of": self.online.as_of, "accounts": len(rows), "sources": rows.sources},
        }

    def _by_id(self, items: Mapping[int, str], asked: Asked) -> dict[int, Answer]:
        snapshot, rows = self.online, self.online.rows
        if rows is None or snapshot.as_of is None:
            why = "no snapshot is stored to score ids from: run python -m serving score"
            return {i: _failed(name, "no_snapshot", why) for i, name in items.items()}
        if asked.as_of not in {None, snapshot.as_of}:
            why = f"ids are scored at the newest snapshot, {snapshot.as_of.isoformat()}: leave as_of out"
            return {i: _failed(name, "other_as_of", why) for i, name in items.items()}
        known = {i: name for i, name in items.items() if name in snapshot.index}
        found = self._answers(rows.take([snapshot.index[name] for name in known.values()]), drivers=asked.drivers)
        unknown = {
            i: _failed(name, "unknown_account", "there is no such account in the newest snapshot")
            for i, name in items.items()
            if i not in known
        }
        return unknown | dict(zip(known, found, strict=True))

    def _posted(self, items: Mapping[int, Posted], as_of: datetime, *, drivers: bool) -> dict[int, Answer]:
        """Posted accounts that give the same tables, in one query; one by one where that fails."""
        try:
            rows = online.posted(self.settings, self.scorer, list(items.values()), as_of)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other accounts get their scores
            if len(items) > 1:
                found: dict[int, Answer] = {}
                for i, item in items.items():
                    found |= self._posted({i: item}, as_of, drivers=drivers)
                return found
            ((i, item),) = items.items()
            return {i: _failed(item["account"]["account_id"], "not_scored", _told(error))}
        scored = {answer.account_id: answer for answer in self._answers(rows, drivers=drivers)}
        return {i: scored.get(name) or _too_young(name) for i, name in _names(items).items()}

    def _answers(self, rows: Rows, *, drivers: bool) -> list[Scored]:
        scores = self.scorer.score(rows)
        explained = {
            (target, horizon): reasons.drivers(bundle, rows, scores[target], horizon)
            for target, bundle in self.scorer.bundles.items()
            for horizon in bundle.horizons
            if drivers and len(rows)
        }
        return [self._answer(rows, i, scores, explained) for i in range(len(rows))]

    def _answer(
        self,
        rows: Rows,
        i: int,
        scores: Mapping[str, np.ndarray],
        explained: Mapping[tuple[str, int], Sequence[tuple[reasons.Driver, ...]]],
    ) -> Scored:
        found = {
            f"{target}_{horizon}d": TargetScore(
                score=float(scores[target][i, h]),
                base_rate=bundle.base_rates[horizon],
                in_cohort=bool(rows.in_cohort[target][i]) if target in rows.in_cohort else None,
                model=bundle.version,
                drivers=_drivers(explained[target, horizon][i]) if explained else None,
            )
            for target, bundle in self.scorer.bundles.items()
            for h, horizon in enumerate(bundle.horizons)
        }
        missing = {s for target in self.scorer.bundles for s in self.scorer.missing(target, rows.sources)}
        return Scored(
            account_id=rows.account_ids[i],
            as_of=instant(int(rows.as_of[i])),
            scores=found,
            value=None if np.isnan(rows.value[i]) else float(rows.value[i]),
            catalog=self.scorer.catalog.version,
            sources_seen=rows.sources,
            sources_missing=tuple(s for s in EVENTS if s in missing),
        )


def champions(settings: Settings) -> Scorer:
    """The scorer of a company's champions.

    Raises:
        GarrisonError: There is none.
    """
    bundles = promotions.champions(settings)
    if not bundles:
        raise GarrisonError(
            f"no model of {settings.company.name} is champion yet",
            do="Train one and promote it: python -m training fit, then python -m training promote RUN",
        )
    return Scorer(bundles, Catalog.of(settings))


def _same_tables(items: Mapping[int, Posted]) -> list[dict[int, Posted]]:
    groups: dict[tuple[str, ...], dict[int, Posted]] = {}
    for i, item in items.items():
        groups.setdefault(tuple(t for t in EVENTS if t in item), {})[i] = item
    return list(groups.values())


def _names(items: Mapping[int, Posted]) -> dict[int, str]:
    return {i: item["account"]["account_id"] for i, item in items.items()}


def _failed(account_id: str, code: str, message: str) -> Failed:
    found = rejected(account_id, code, [Fault(at="", message=message)])
    return Failed(account_id=account_id, error=found.error.model_copy(update={"details": ()}))


def _too_young(account_id: str) -> Failed:
    return _failed(account_id, "too_young", "the account was created at or after as_of: it has no history yet")


def _told(error: Exception) -> str:
    """What to say of an error in scoring one posted account; its rows stay out of the log."""
    if isinstance(error, GarrisonError):
        return str(error)
    _log.warning("a posted account could not be scored: %s", type(error).__name__)
    return "its rows could not be scored: a value is out of all proportion"


def _drivers(found: tuple[reasons.Driver, ...]) -> tuple[Driver, ...]:
    return tuple(
        Driver(
            feature=d.feature,
            text=d.text,
            contribution=d.contribution,
            actionable=d.actionable,
            play=d.play,
        )
        for d in found
    )


def _card(scorer: Scorer, target: str) -> dict[str, Any]:
    bundle = scorer.bundles[target]
    return {
        "version": bundle.version,
        "run_id": bundle.run_id,
        "trained_at": bundle.trained_at,
        "horizons": bundle.horizons,
        "base_rates": {f"{h}d": bundle.base_rates[h] for h in bundle.horizons},
        "sources": bundle.sources,
        "catalog": bundle.catalog,
        "features": bundle.features,
    }
