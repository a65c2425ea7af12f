"""The application layer: whole operations on the estate, for the command line, a console or a scheduler."""
