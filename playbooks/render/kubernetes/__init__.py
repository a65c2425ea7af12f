"""Rendering for the roles of a Kubernetes cluster: the control plane, the nodes, and what they share."""
