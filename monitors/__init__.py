"""Monitoring: the code that reads the running estate, health rules, alert rules and the status screen."""
