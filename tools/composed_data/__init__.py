"""Scenes that are composed of emoji, with questions about them and captions."""
