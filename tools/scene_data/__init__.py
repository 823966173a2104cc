"""Rooms with simple bodies in them, seen by a pin-hole camera: images with the class, depth and normal of each pixel."""
