"""The declared estate: its model, loader, rules and addresses. Imports no tool."""
