"""Instant approval 秒批: household registration for graduates, decided in one transaction from three registers."""
