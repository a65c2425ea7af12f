"""Rendering: estate and address plan to the very text that is installed. Pure functions."""

from playbooks.render.peer_fixtures import fixture_files, fixture_units

__all__ = ["fixture_files", "fixture_units"]
