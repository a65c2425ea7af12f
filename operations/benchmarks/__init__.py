"""Repeatable measurements of the estate and of the Kubernetes provider."""
