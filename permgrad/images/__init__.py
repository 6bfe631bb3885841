"""Which pixel of an image each feature takes."""
