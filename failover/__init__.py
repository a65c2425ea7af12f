"""Plans, steps, drills, the ledger of a drill's requests, and the report.

Decisions are pure functions (`plans`, `ledger`). An action is a step (`step`): a check before, the act, a check after,
an undo and a deadline. `protocols` declares the interfaces to a lab or a real site; other packages implement them.
"""
