"""The monitors' snapshot in failover's words."""
