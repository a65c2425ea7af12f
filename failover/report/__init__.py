"""The report of a drill: one HTML page for each language that needs nothing else, and the figures as JSON beside it."""

from failover.report.page import render, write

__all__ = ["render", "write"]
