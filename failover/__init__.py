"""Plans, steps, drills, the ledger of what citizens saw, and the report.

Decisions are pure functions (`plans`, `ledger`); acts are steps with a check before, the act, a check after, an undo
and a deadline (`steps`). What is needed of a lab or of a real site is declared in `protocols` and implemented by
others.
"""
