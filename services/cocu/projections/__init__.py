"""Maps of the image space: positions on a plane, regions, what a polygon encloses, a picture of density."""
