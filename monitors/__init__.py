"""Watching the estate: the only readers of as-is, the judgement of what was seen, alert rules, the status screen."""
