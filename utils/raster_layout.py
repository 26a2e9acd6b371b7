"""Where things lie in the memory of the compiled rasteriser (:mod:`utils.raster_program`), and its constants."""

(POINTS, NORMALS, FACES, MESHES, N_FACES, TABLE, RAMPS, N_MESHES, BACKGROUND, WIDTH, HEIGHT, BORDER, NUMBERS, PLANES,
 DEPTH, FACE, LINES, NEAREST, SKY, PICTURE, N_ARGUMENTS) = range(21)  # fmt: skip
"""int64 arguments: addresses of arrays, and numbers of things. Points and normals are double; faces and the mesh of
each are int64; all else is single. Height and width are those of the picture; of LINES, DEPTH and FACE those of the
samples; NEAREST has a border of BORDER pixels on all sides; SKY is for a row. Behind each are LANES more."""
CONTOUR, TABLE_HALF, N_NUMBERS = 0, 1, 2
PER_FACE = 7
"""Numbers of PLANES for each face: two planes of where its light is looked up, and how bright it is as a whole."""
LANES = 16
EMPTY = 1e9
"""Depth where nothing is seen."""
DARK, INSIDE = 0.55, 0.6
REACHES = 3
"""Distances at which creases are looked for: rows of STEPS in NUMBERS, each (step, diagonal, limit, weight)."""
