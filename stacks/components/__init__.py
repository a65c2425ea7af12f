"""Typed components: what several programs declare alike."""
