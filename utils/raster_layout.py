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
"""Factors of brightness: on contours, and of faces that are seen from inside."""
REACHES = ((0.012, 0.3), (0.028, 0.4), (0.055, 0.3))
"""How far creases darken, as shares of the picture, and how much; in NUMBERS (step, diagonal, limit, weight) each."""
CREASE, DEEPEST = 1.6, 0.55
"""What shadows of creases are multiplied by before they are cut at 1, and how much of the light the darkest takes."""
