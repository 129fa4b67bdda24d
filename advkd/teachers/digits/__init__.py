"""The embedded teacher on handwritten digits: its data, its recipe, its weights."""
