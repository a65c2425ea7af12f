"""What a machine needs before it can run an estate: packages, pinned builds, wheels and the base image."""
