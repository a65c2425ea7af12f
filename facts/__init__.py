"""Ports and paths on hosts that more than one package needs: the renderers, the firewall and the monitors.

Each fact is written once. A port that only one renderer needs stays in that renderer.
"""
