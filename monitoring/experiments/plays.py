"""Pick the play that a family of accounts gets where two plays against one cause are compared by lot."""

from __future__ import annotations

from features.core.errors import GarrisonError, nearest
from features.definitions.plays import PLAYS
from features.settings import Experiment
from features.settings.experiment import PlayPair
from monitoring.experiments.assignment import draw_lot

PLAYS_OF = "plays:"


def check_plays(experiment: Experiment) -> None:
    """Check that each pair of plays works against the cause that it is compared for.

    Raises:
        GarrisonError: A play is not known, or works against another cause.
    """
    for pair in experiment.plays:
        usable = sorted(key for key, play in PLAYS.items() if play.cause == pair.cause)
        for key in pair.plays:
            if key not in PLAYS:
                raise GarrisonError(
                    f"experiment.plays names the play {key!r}, which there is not", hint=nearest(key, PLAYS)
                )
            if key not in usable:
                raise GarrisonError(
                    f"experiment.plays compares {key} for the cause {pair.cause}",
                    found=f"it works against {PLAYS[key].cause}",
                    hint=f"Plays against {pair.cause}: {', '.join(usable)}",
                )


def find_pair(experiment: Experiment, play: str) -> PlayPair | None:
    """Return the pair that lots pick from in place of a play; None where its cause has no pair."""
    cause = PLAYS[play].cause if play in PLAYS else None
    return next((pair for pair in experiment.plays if pair.cause == cause), None)


def pick_play(experiment: Experiment, play: str, *, unit: str) -> str:
    """Return the play that a family gets in place of the one that its drivers ask for; the same at every run."""
    pair = find_pair(experiment, play)
    if pair is None:
        return play
    lot = draw_lot(unit, experiment=experiment.name, purpose=f"{PLAYS_OF}{pair.cause}")
    return pair.plays[0] if lot < 0.5 else pair.plays[1]
