"""Name the states in which messages come into the outbox; those of delivery are named where they are delivered."""

PENDING = "pending"
# Nobody can be found to send it to.
UNDELIVERABLE = "undeliverable"
# Over an owner's cap, in earlier releases: now a digest holds what is over it.
WITHHELD = "withheld"
