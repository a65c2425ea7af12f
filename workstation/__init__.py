"""The operator's side: directories, errors, progress, the way into hosts. Knows no estate's content and no tool above it."""
