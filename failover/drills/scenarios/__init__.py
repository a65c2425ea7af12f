"""One module for each drill. `registry` finds them: a new drill needs no other change."""
