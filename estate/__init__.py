"""What exists: the estate as declared, its loader, its rules and its addresses. Imports no tool."""
