"""Thin commands over the packages below. No decision is made here."""
