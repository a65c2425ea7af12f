"""Runs of the Pulumi engine: plan, update, drift and destroy, one worker process for each stack."""
