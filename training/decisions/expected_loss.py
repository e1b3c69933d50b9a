"""Put an act on an account in money: what it is expected to avoid losing, or to gain, less what it costs."""

from __future__ import annotations

from features.settings.stakes import Stakes


def compute_expected_loss_avoided(
    stakes: Stakes, *, risk: float, value: float | None, play: str | None, tier: str | None
) -> float:
    """Return risk x value x save rate less the cost of the contact.

    Args:
        stakes: The company's.
        risk: Probability of leaving within the horizon, or of buying.
        value: Money that the account loses or gains then; None where not known.
        play: What is done about it.
        tier: Of the account, A to E; None where not known.

    Returns:
        In the company's currency; below 0 where the contact costs more than it can save.

    Example:
        >>> compute_expected_loss_avoided(Stakes(), risk=0.5, value=1000.0, play=None, tier=None)
        149.0
    """
    worth = stakes.value if value is None else max(value, 0.0)
    return risk * worth * stakes.get_save_rate(play, tier) - stakes.contact
