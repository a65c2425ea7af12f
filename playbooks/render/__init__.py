"""Rendering: pure functions from estate and address plan to the exact text that is installed."""

from playbooks.render.peer_fixtures import fixture_files, fixture_units

__all__ = ["fixture_files", "fixture_units"]
