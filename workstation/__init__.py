"""The operator's side: directories, errors, progress, the way into hosts. Knows no estate and no tool above it."""
