"""The command line: thin commands that call the other packages. The decisions are made there, not here."""
