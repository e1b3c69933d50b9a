"""Define the plays: the next step for an account's owner, by the driver that raised the risk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

# What a play works against. Renewal is no cause: the end of a term only says when.
Cause = Literal["usage", "contact", "service", "price", "purchases", "renewal", "unknown"]


@dataclass(frozen=True)
class Play:
    """A recommended next step.

    Args:
        key: The name that features use.
        cause: What it works against.
        title: In a few words.
        step: Instructions to the owner.
    """

    key: str
    cause: Cause
    title: str
    step: str


DEFAULT = Play(
    "review_account",
    "unknown",
    "Review the account",
    "Nothing here that you can act on stands out. Call your contact, ask how it is going, "
    "and note what has changed on their side.",
)

PLAYS: Mapping[str, Play] = MappingProxyType(
    {
        play.key: play
        for play in (
            Play(
                "revive_usage",
                "usage",
                "Bring usage back",
                "Ask your contact what changed in how they work, and agree on one task to do with the product "
                "this week, with someone of ours beside them.",
            ),
            Play(
                "train_users",
                "usage",
                "Train more of their people",
                "Offer a short session for those who have stopped or never started, on the parts their team "
                "does not use yet.",
            ),
            Play(
                "break_silence",
                "contact",
                "Break the silence",
                "They have gone quiet without complaining. Call, don't write: ask what they would miss if it "
                "were gone tomorrow.",
            ),
            Play(
                "answer_tickets",
                "service",
                "Get their open tickets answered",
                "Find out what holds up the oldest and the most urgent one, and tell them yourself by when it "
                "will be done.",
            ),
            Play(
                "fix_service",
                "service",
                "Make good for poor service",
                "Go through what went wrong with the service lead, then call: say what happened, what has been "
                "put right, and whom to reach directly.",
            ),
            Play(
                "review_tickets",
                "service",
                "See what their tickets say",
                "Read the latest ones together: the same question twice points to a gap in the product, or in "
                "what they were taught. Bring them the answer.",
            ),
            Play(
                "talk_price",
                "price",
                "Talk about price",
                "Show what they get for what they pay, and have a smaller plan or a longer term ready before "
                "they ask for it.",
            ),
            Play(
                "renew_early",
                "renewal",
                "Open the renewal now",
                "Don't wait for the term to end: meet whoever decides, with the results of this term and an "
                "offer for the next.",
            ),
            Play(
                "win_back_purchase",
                "purchases",
                "Win the next purchase",
                "They buy less than they used to. Ask what they now get elsewhere, and make an offer on what "
                "they used to buy.",
            ),
            Play(
                "show_more",
                "purchases",
                "Show them more of the range",
                "They use little of what we have. Bring one thing that companies like theirs gain from, with "
                "an example.",
            ),
            Play(
                "get_in_touch",
                "contact",
                "Get back in touch",
                "Nobody of ours has spoken with them for a while, or only campaigns have. Call the person you know "
                "best, without anything to sell, and agree on when you speak next.",
            ),
            Play(
                "settle_payment",
                "price",
                "Clear up what is unpaid",
                "Ask accounting which invoices stand open or were given back, then call: find out whether it is "
                "the money, the invoice or the service, and agree on how to settle it.",
            ),
            Play(
                "keep_promise",
                "service",
                "Keep what was promised",
                "Find out where it stands and tell them today: done, or the new day and why. A promise that slips "
                "without a word costs more than one that was never made.",
            ),
            DEFAULT,
        )
    }
)


def choose_play(drivers: Iterable[Mapping[str, Any]]) -> Play:
    """Return the play of the strongest driver that someone can act on; `DEFAULT` where there is none.

    A renewal that is near says when an account may leave and not why, so any cause goes before it.

    Args:
        drivers: As a score stores them: each with `contribution` (log-odds), `actionable` and `play`.
    """
    ranked = sorted(drivers, key=lambda driver: -float(driver["contribution"]))
    named = (PLAYS.get(str(d["play"])) for d in ranked if d["actionable"] and d["contribution"] > 0)
    usable = [play for play in named if play is not None]
    return min(usable, key=lambda play: play.cause == "renewal", default=DEFAULT)
