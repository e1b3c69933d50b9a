"""The facts of an account about which there is nothing to say: no kind of episode opens on it."""

import math

QUIET = {
    "usage_trend_30d": 0.0,
    "usage_against_usual_30d": 1.0,
    "usage_events_90d": 300.0,
    "urgent_tickets_90d": 0.0,
    "escalated_tickets_90d": 0.0,
    "open_urgent_tickets": 0.0,
    "days_to_renewal": 200.0,
    "term_days": 365.0,
    "days_since_touch": 10.0,
    "tenure_days": 900.0,
    "csat_90d": math.nan,
    "paid_share_365d": 1.0,
}
