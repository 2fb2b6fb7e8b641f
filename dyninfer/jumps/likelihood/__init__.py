"""How likely observed jumps are."""
