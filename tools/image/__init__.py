"""The base image: a Debian system with all roles' install parts. Every machine uses it read-only."""
