"""Letters in four styles of drawing, for models that make pictures; see docs/packs.md."""
