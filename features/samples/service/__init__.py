"""The service organisation of tidewater: what its tickets say and cost, who serves, and whom it serves.

In: the accounts and tickets of a simulated chunk, their hidden states, and random streams of their own, so that
accounts, states and tickets are the same with it and without. Out: further columns of tickets and accounts, the tables
people, staff, contracts, promises and surveys, and apart the hidden truth: each ticket's problem, what a problem does
to leaving, what each first action brings, and the payroll.

Nothing looks ahead: each value follows from what was drawn before it, so a shorter life is the start of a longer one.
"""
