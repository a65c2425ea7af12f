"""Setup of the operator's machine: Debian packages, pinned builds, wheels and the base image."""
