"""Basics of the operator's machine: paths, errors, progress, SSH to hosts. Imports no estate and no other tool."""
