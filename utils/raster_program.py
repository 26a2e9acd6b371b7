"""The rasteriser as a compiled program: what `utils.raster.shade` does.

A triangle after the other is cut into pixel rows, and each fragment is compared with the nearest one so far; then
light, creases and contours are worked out for what is seen. :mod:`utils.raster` says what and why; the pictures are
the same but for single pixels on edges, where rounding decides.
"""

from __future__ import annotations

from utils.raster_layout import (
    BACKGROUND,
    BORDER,
    CONTOUR,
    CREASE,
    DARK,
    DEEPEST,
    DEPTH,
    EMPTY,
    FACE,
    FACES,
    HEIGHT,
    INSIDE,
    LANES,
    LINES,
    MESHES,
    N_FACES,
    N_MESHES,
    N_NUMBERS,
    NEAREST,
    NORMALS,
    NUMBERS,
    PER_FACE,
    PICTURE,
    PLANES,
    POINTS,
    RAMPS,
    REACHES,
    SKY,
    TABLE,
    TABLE_HALF,
    WIDTH,
)
from utils.vectors import (
    DOUBLE,
    INTEGER,
    Value,
    Variable,
    choose,
    double,
    everywhere,
    function,
    largest,
    loop,
    memory,
    real,
    root,
    single,
    smallest,
    when,
    whole,
)


def _ceiling(value: Value) -> Value:
    """The lowest integer that is not below a number, which is not negative."""
    low = whole(value)
    return low + choose(real(low, value.type) < value, low * 0 + 1, low * 0)


def _pixels(value: Value, limit: Value) -> Value:
    """The first pixel whose centre is at or beyond a place, 0 … limit."""
    return _ceiling(smallest(largest(value - 0.5, 0.0), real(limit, DOUBLE)))


def _swapped(a: list[Value], b: list[Value]) -> tuple[list[Value], list[Value]]:
    """Two points, the higher one first."""
    later = b[1] < a[1]
    return [choose(later, q, p) for p, q in zip(a, b, strict=True)], [
        choose(later, p, q) for p, q in zip(a, b, strict=True)
    ]


def _crossing(a: list[Value], b: list[Value], y: Value) -> Value:
    """Where the edge from ``a`` down to ``b`` crosses a height."""
    rise = b[1] - a[1]
    share = smallest(largest((y - a[1]) / choose(rise > 0.0, rise, 1.0), 0.0), 1.0)
    return a[0] + (b[0] - a[0]) * share


def _plane(corners: list[list[Value]], values: list[Value], area: Value) -> tuple[Value, Value, Value]:
    """The linear function of the place with these values at the corners: d/dx, d/dy, and its value at (0, 0)."""
    (x1, y1), (x2, y2) = ([corners[i][c] - corners[0][c] for c in range(2)] for i in (1, 2))
    v1, v2 = values[1] - values[0], values[2] - values[0]
    across, down = (v1 * y2 - v2 * y1) / area, (v2 * x1 - v1 * x2) / area
    return across, down, values[0] - across * corners[0][0] - down * corners[0][1]


@function
def _fill(rows, count, value):
    """So many numbers, and up to LANES − 1 more."""
    wide = rows.wide(LANES)
    for n in loop((count + (LANES - 1)) // LANES):
        wide[n] = value


@function
def _triangle(arguments, face, samples):
    """Enter a triangle: its light's planes, and its fragments where they are nearer than what is there."""
    points, normals = memory(arguments[POINTS], DOUBLE), memory(arguments[NORMALS], DOUBLE)
    of_face = memory(arguments[FACES], INTEGER) + face * 3
    width, height = (arguments[size] * samples for size in (WIDTH, HEIGHT))
    corners = [[points[of_face[i] * 3 + c] for c in range(3)] for i in range(3)]
    (x1, y1), (x2, y2) = ([corners[i][c] - corners[0][c] for c in range(2)] for i in (1, 2))
    area = x1 * y2 - x2 * y1
    with when((area > 1e-12) | (area < -1e-12)):
        _light_planes(arguments, face, corners, area, normals, of_face)
        across, down, base = _plane(corners, [corner[2] for corner in corners], area)
        a, b = _swapped(corners[0][:2], corners[1][:2])
        b, c = _swapped(b, corners[2][:2])
        a, b = _swapped(a, b)
        depth, owner = memory(arguments[DEPTH]), memory(arguments[FACE])
        name = real(face)
        for row in loop(_pixels(a[1], height), _pixels(c[1], height)):
            y = real(row, DOUBLE) + 0.5
            upper = y < b[1]
            short = [[choose(upper, p, q) for p, q in zip(*ends, strict=True)] for ends in ((a, b), (b, c))]
            long_x, short_x = _crossing(a, c, y), _crossing(*short, y)
            left, right = (_pixels(pick(long_x, short_x), width) for pick in (smallest, largest))
            at = base + down * y + across * 0.5
            for column in loop(left, right):
                z, place = single(at + across * real(column, DOUBLE)), row * width + column
                with when(z < depth[place]):
                    depth[place] = z
                    owner[place] = name


def _light_planes(arguments, face, corners, area, normals, of_face) -> None:
    """Where in the table of light the places of a face look: normals on the unit disc, see `raster._on_disc`."""
    half = double(memory(arguments[NUMBERS])[TABLE_HALF])
    inside = area > 0.0  # outward triangles run clockwise here, where y points down
    sign = choose(inside, half * 0.0 - 1.0, half * 0.0 + 1.0)
    places: list[list[Value]] = [[], []]
    for i in range(3):
        normal = [normals[of_face[i] * 3 + c] * sign for c in range(3)]
        stretch = double(1.0 / root(single(largest(2.0 * (1.0 + normal[2]), 1e-6))))
        for c in range(2):
            places[c].append((normal[c] * stretch + 1.0) * half + 0.5)
    planes = memory(arguments[PLANES]) + face * PER_FACE
    for c in range(2):
        for n, part in enumerate(_plane(corners, places[c], area)):
            planes[3 * c + n] = single(part)
    planes[6] = single(choose(inside, half * 0.0 + INSIDE, half * 0.0 + 1.0))


@function
def _lines(arguments, samples):
    """Factor of each sample: dark where depth jumps to one of its neighbours."""
    width, height = (arguments[size] * samples for size in (WIDTH, HEIGHT))
    depth, lines = memory(arguments[DEPTH]), memory(arguments[LINES])
    threshold = memory(arguments[NUMBERS])[CONTOUR]
    for row in loop(height):
        up, down = (choose(beyond, row, other) for beyond, other in
                    ((row < 1, row - 1), (row > height - 2, row + 1)))  # fmt: skip
        for column in loop(0, width, LANES):
            here = (depth + (row * width + column)).wide(LANES)[0]
            first, last = column < 1, column + LANES > width - 1
            around = [(depth + (other * width + column)).wide(LANES)[0] for other in (up, down)]
            around += [(depth + (row * width + column + choose(edge, column * 0, column * 0 + step))).wide(LANES)[0]
                       for edge, step in ((first, -1), (last, 1))]  # fmt: skip
            factor = here * 0.0 + 1.0
            for other in around:
                jump = largest(here - other, other - here)
                factor = choose(jump > threshold, here * 0.0 + DARK, factor)
            (lines + (row * width + column)).wide(LANES)[0] = factor
        _edge_lines(depth + row * width, lines + row * width, width, threshold)


@function
def _edge_lines(depth, lines, width, threshold):
    """Samples at the ends of a row, which groups of LANES shifted as a whole do not compare with all neighbours."""
    for column in loop(largest(width - 2 * LANES, 1), width):
        jump = depth[column] - depth[column - 1]
        with when((jump > threshold) | (jump < -threshold)):
            lines[column] = DARK
            lines[column - 1] = DARK
    for column in loop(1, smallest(width, LANES + 1)):
        jump = depth[column] - depth[column - 1]
        with when((jump > threshold) | (jump < -threshold)):
            lines[column] = DARK
            lines[column - 1] = DARK


@function
def _nearest(arguments, samples):
    """The nearest depth in each pixel, with a border in which nothing is seen."""
    width, height, border = (arguments[name] for name in (WIDTH, HEIGHT, BORDER))
    depth, nearest = memory(arguments[DEPTH]), memory(arguments[NEAREST])
    wide = width + border * 2
    _fill(nearest, wide * (height + border * 2), EMPTY)
    for row in loop(height):
        above, line = depth + row * samples * (width * samples), nearest + ((row + border) * wide + border)
        for column in loop(width):
            least = None
            for place in _places(column, width, samples):
                least = above[place] if least is None else smallest(least, above[place])
            line[column] = least


def _places(column, width, samples: int) -> list[Value]:
    """Where the samples of a pixel are, in the rows of samples that are its."""
    return [column * samples + (width * samples) * i + j for i in range(samples) for j in range(samples)]


def _openness(nearest, at, wide, steps) -> Value:
    """How openly LANES pixels lie, see `raster._openness`."""
    here = (nearest + at).wide(LANES)[0]
    shadow = here * 0.0
    for reach in range(len(REACHES)):
        step, diagonal = (whole(steps[4 * reach + n]) for n in range(2))
        limit, weight = steps[4 * reach + 2], steps[4 * reach + 3]
        total = shadow * 0.0
        for dy, dx in ((step * 0, step), (step, step * 0), (diagonal, diagonal), (diagonal, step * 0 - diagonal)):
            pair = shadow * 0.0
            for sign in (1, -1):
                there = (nearest + (at + (dy * wide + dx) * sign)).wide(LANES)[0]
                nearer = smallest(largest(here - there, shadow * 0.0 - limit), shadow * 0.0 + limit)
                pair = pair + choose(there < 0.5 * EMPTY, nearer, shadow * 0.0)
            total = total + largest(pair, 0.0)
        shadow = shadow + weight * smallest(total / (4.0 * real(step)), 1.0)
    return 1.0 - DEEPEST * smallest(CREASE * shadow, 1.0)


@function
def _paint(arguments, samples):
    """The picture, from light, creases and contours."""
    width, height, border = (arguments[name] for name in (WIDTH, HEIGHT, BORDER))
    nearest, steps = memory(arguments[NEAREST]), memory(arguments[NUMBERS]) + N_NUMBERS
    wide, open_sky = width + border * 2, memory(arguments[SKY])
    for row in loop(height):
        for column in loop(0, width, LANES):
            at = (row + border) * wide + column + border
            seen = (nearest + at).wide(LANES)[0] < 0.5 * EMPTY
            with when(~everywhere(~seen)):
                (open_sky + column).wide(LANES)[0] = _openness(nearest, at, wide, steps)
        above = (row + border) * wide + border
        for column in loop(width):
            seen = nearest[above + column] < 0.5 * EMPTY
            with when(seen):
                _pixel(arguments, row, column, open_sky, samples)
            with when(~seen):
                _bare(arguments, row, column, samples)


def _line(arguments, row, column, samples: int) -> Value:
    """How dark contours make a pixel."""
    lines, width = memory(arguments[LINES]), arguments[WIDTH]
    lines = lines + row * samples * (width * samples)
    return sum((lines[place] for place in _places(column, width, samples)), start=lines.zero) * (1 / samples**2)


def _bare(arguments, row, column, samples: int) -> None:
    """A pixel in which nothing is seen."""
    line, picture = _line(arguments, row, column, samples), memory(arguments[PICTURE])
    background = memory(arguments[BACKGROUND])
    for c in range(3):
        picture[(row * arguments[WIDTH] + column) * 3 + c] = background[c] * line + 0.5


@function
def _pixel(arguments, row, column, open_sky, samples):
    """A pixel's colour: brightness is averaged over a mesh's samples before it becomes colour."""
    width = arguments[WIDTH]
    owner, ramps, background, picture = (memory(arguments[name]) for name in (FACE, RAMPS, BACKGROUND, PICTURE))
    meshes, share = memory(arguments[MESHES], INTEGER), 1 / samples**2
    owner, zero = owner + row * samples * (width * samples), owner.zero
    seen, light, mesh_of = [], [], []
    for number, place in enumerate(_places(column, width, samples)):
        face = owner[place]
        first = whole(largest(face, 0.0))
        seen.append(choose(face >= 0.0, zero + share, zero))
        light.append(_light(arguments, first, row * samples + number // samples, column * samples + number % samples))
        mesh_of.append(meshes[first])
    line, bare = _line(arguments, row, column, samples), Variable(zero + 1.0)
    mixed = [Variable(zero) for _ in range(3)]
    for mesh in loop(arguments[N_MESHES]):
        own = [choose(of == mesh, part, zero) for of, part in zip(mesh_of, seen, strict=True)]
        cover = sum(own[1:], start=own[0])
        tone = sum((part * bright for part, bright in zip(own, light, strict=True)), start=zero)
        with when(cover > 0.0):
            level = whole(tone / cover * open_sky[column] * 255.0 + 0.5)
            for c in range(3):
                mixed[c] += cover * ramps[(mesh * 256 + level) * 3 + c]
            bare -= cover
    for c in range(3):
        value = (mixed[c].value + bare.value * background[c]) * line + 0.5
        picture[(row * width + column) * 3 + c] = value


def _light(arguments, face, row, column) -> Value:
    """Brightness of a face at the middle of a sample, from the table of light."""
    table, half = memory(arguments[TABLE]), memory(arguments[NUMBERS])[TABLE_HALF]
    planes, x, y = memory(arguments[PLANES]) + face * PER_FACE, real(column) + 0.5, real(row) + 0.5
    at = [whole(smallest(largest(planes[n] * x + planes[n + 1] * y + planes[n + 2], 0.0), half * 2.0)) for n in (0, 3)]
    return table[at[1] * (whole(half) * 2 + 1) + at[0]] * planes[6]


def _draw(arguments, samples: int) -> None:
    """A scene of triangles as a picture."""
    count = arguments[WIDTH] * arguments[HEIGHT] * (samples * samples)
    _fill(memory(arguments[DEPTH]), count, EMPTY)
    _fill(memory(arguments[FACE]), count, -1.0)
    for face in loop(arguments[N_FACES]):
        _triangle(arguments, face, samples)
    _lines(arguments, samples)
    _nearest(arguments, samples)
    _paint(arguments, samples)


ENTRIES = {
    "draw1": lambda arguments: _draw(arguments, 1),
    "draw2": lambda arguments: _draw(arguments, 2),
}
"""By how many samples a pixel is wide."""
