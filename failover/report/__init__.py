"""The report of a drill: one self-contained HTML page for each language, and the figures as JSON."""

from failover.report.page import render, write

__all__ = ["render", "write"]
