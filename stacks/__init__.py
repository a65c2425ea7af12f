"""Deploys the estate with Pulumi: programs, components, our own provider, and the code that runs the engine."""
