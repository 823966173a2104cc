"""Pictures with their names: emoji in the drawings of two vendors, in several languages."""
