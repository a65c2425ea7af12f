"""Rendering for the roles of a Kubernetes cluster: the control plane, the nodes, and their common parts."""
