"""The scenes that can be drawn, each from its own kinds of shapes, and what is known of them."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from scenerec.data.manifest import Place
from scenerec.data.synthetic_canvas import Canvas, Color

BLUES: list[tuple[Color, Color]] = [
    ((70, 130, 200), (180, 215, 240)),
    ((120, 150, 180), (205, 215, 225)),
    ((150, 155, 165), (200, 200, 205)),
]
SUNSETS: list[tuple[Color, Color]] = [((90, 80, 140), (250, 170, 110)), ((130, 100, 130), (255, 205, 150))]


def _beach(c: Canvas) -> None:
    horizon = c.between(0.28, 0.45)
    c.sky(horizon, BLUES + SUNSETS)
    c.sun(horizon)
    c.clouds(c.count(0, 3), horizon * 0.7, 0.12)
    c.gradient(horizon, 1, (40, 110, 160), (110, 190, 200))
    for _ in range(c.count(15, 30)):
        x, y = c.between(0, 1), c.between(horizon, 0.7)
        c.line([(x, y), (x + c.between(0.05, 0.2), y)], 0.006, c.color((190, 220, 230)))
    left, right = c.between(0.55, 0.95), c.between(0.5, 0.75)
    xs = np.linspace(0, 1, 30)
    ripple = 0.015 * np.sin(xs * c.between(8, 20) + c.between(0, 6))
    shore = [(float(x), left + (right - left) * float(x) + float(r)) for x, r in zip(xs, ripple, strict=True)]
    c.polygon([*shore, (1, 1), (0, 1)], c.color((222, 200, 150)))
    c.line(shore, c.between(0.015, 0.035), c.color((245, 248, 250), 5))
    c.speckle(c.count(20, 60), max(left, right), 1, (190, 165, 120), 0.012)
    if c.rng.random() < 0.5:
        x, y = c.between(0.55, 0.9), c.between(0.78, 0.9)
        c.line([(x, y), (x, y - 0.16)], 0.012, c.color((110, 80, 60)))
        c.polygon([(x - 0.12, y - 0.14), (x, y - 0.24), (x + 0.12, y - 0.14)], c.color((205, 60, 60), 60))


def _city(c: Canvas) -> None:
    ground = c.between(0.78, 0.92)
    c.sky(ground, BLUES + SUNSETS)
    c.clouds(c.count(0, 3), 0.3, 0.12)
    for depth, lowest in ((0, 0.2), (1, 0.4)):
        x = -0.05
        while x < 1:
            width, top = c.between(0.1, 0.22), c.between(lowest, lowest + 0.32)
            shade = c.color([(135, 140, 150), (150, 120, 105), (95, 100, 112)][c.count(0, 2)], 25)
            c.box(x, top, width, ground - top, shade)
            pane = c.color((60, 75, 95) if c.rng.random() < 0.6 else (235, 215, 150))
            step = c.between(0.035, 0.05)
            for row in np.arange(top + 0.02, ground - 0.04, step):
                for column in np.arange(x + 0.02, x + width - 0.025, step):
                    c.box(float(column), float(row), step * 0.5, step * 0.55, pane)
            x += width + c.between(0, 0.04) * depth
    c.box(0, ground, 1, 1 - ground, c.color((85, 85, 90)))
    for x in np.arange(c.between(0, 0.1), 1, 0.2):
        c.box(float(x), (1 + ground) / 2, 0.1, 0.012, c.color((225, 225, 215)))


def _desert(c: Canvas) -> None:
    horizon = c.between(0.3, 0.5)
    c.sky(1, BLUES + SUNSETS)
    c.sun(horizon)
    sand = c.color((222, 170, 105), 25)
    for layer in range(c.count(3, 4)):
        shade: Color = (sand[0] - 22 * layer, sand[1] - 20 * layer, sand[2] - 16 * layer)
        crest = c.ridge(horizon + 0.17 * layer, c.between(0.03, 0.07), c.color(shade, 6), waves=2)
        c.line(crest, 0.012, c.color((250, 215, 160), 8))
    for _ in range(c.count(0, 3)):
        x, y, height = c.between(0.1, 0.9), c.between(0.65, 0.95), c.between(0.12, 0.25)
        green = c.color((70, 105, 60))
        c.line([(x, y), (x, y - height)], 0.03, green)
        arm = [(x, y - height * 0.4), (x + height * 0.3, y - height * 0.4), (x + height * 0.3, y - height * 0.8)]
        c.line(arm, 0.02, green)


def _field(c: Canvas) -> None:
    horizon = c.between(0.35, 0.55)
    c.sky(horizon, BLUES + SUNSETS)
    c.sun(horizon)
    c.clouds(c.count(1, 4), horizon * 0.8, 0.12)
    crop: Color = [(110, 160, 60), (205, 180, 80), (85, 130, 55)][c.count(0, 2)]
    c.gradient(horizon, 1, crop, (crop[0] - 25, crop[1] - 25, crop[2] - 20))
    vanishing = c.between(0.2, 0.8)
    for x in np.arange(-2.5, 3.5, c.between(0.16, 0.26)):
        c.line([(vanishing, horizon), (float(x), 1)], 0.012, c.color((crop[0] - 45, crop[1] - 40, crop[2] - 25)))
    if c.rng.random() < 0.5:
        bloom: Color = [(200, 60, 70), (235, 225, 90), (150, 90, 170)][c.count(0, 2)]
        c.speckle(c.count(60, 150), horizon + 0.05, 1, bloom, 0.012)
    for _ in range(c.count(0, 2)):
        c.tree(c.between(0.1, 0.9), horizon + 0.04, c.between(0.15, 0.3), False, (60, 95, 45))


def _forest(c: Canvas) -> None:
    floor = c.between(0.7, 0.85)
    leaves: Color = [(60, 100, 50), (85, 120, 50), (150, 95, 40)][c.count(0, 2)]
    c.gradient(0, floor, (leaves[0] * 0.5, leaves[1] * 0.5, leaves[2] * 0.5), (170, 190, 150))
    c.gradient(floor, 1, (80, 75, 45), (55, 55, 30))
    for depth in np.linspace(0.3, 1, c.count(9, 16)):
        x, base = c.between(0, 1), floor + (1 - floor) * float(depth) * 0.8
        haze = (1 - float(depth)) * 90
        bark = c.color((70 + haze, 55 + haze, 40 + haze))
        c.box(x, -0.1, 0.02 + 0.045 * float(depth), base + 0.1, bark)
        for _ in range(14):
            shade = c.color((leaves[0] + haze * 0.5, leaves[1] + haze * 0.5, leaves[2] + haze * 0.5), 30)
            c.disc(x + c.between(-0.16, 0.2), c.between(-0.05, 0.38), 0.07, 0.05, shade)
    c.speckle(c.count(60, 120), floor, 1, (95, 105, 50), 0.015)


def _mountain(c: Canvas) -> None:
    c.sky(1, BLUES + SUNSETS)
    c.clouds(c.count(0, 4), 0.35, 0.12)
    rock = c.color((110, 110, 125), 25)
    for layer in range(2):
        for _ in range(c.count(2, 3)):
            x, top = c.between(0, 1), c.between(0.12, 0.38) + 0.12 * layer
            half = c.between(0.28, 0.5)
            base, lean = 0.85, c.between(-0.06, 0.06)
            face = (rock[0] - 18 * layer, rock[1] - 18 * layer, rock[2] - 18 * layer)
            c.polygon([(x, top), (x - half, base), (x + half, base)], c.color(face, 6))
            c.polygon(
                [(x, top), (x + lean, base), (x + half, base)], c.color((face[0] - 30, face[1] - 30, face[2] - 25), 6)
            )
            cap = c.between(0.2, 0.4)
            edge = top + cap * (base - top)
            zigzag = [
                (x + half * cap * t, edge + (0.06 if i % 2 else -0.04)) for i, t in enumerate(np.linspace(0.9, -0.9, 7))
            ]
            c.polygon([(x, top), *((float(a), float(b)) for a, b in zigzag)], c.color((240, 243, 248), 8))
    c.ridge(c.between(0.72, 0.85), 0.04, c.color((75, 100, 60), 25))


def _night(c: Canvas) -> None:
    c.gradient(0, 1, (8, 10, 32), (38, 42, 80))
    for _ in range(c.count(40, 110)):
        radius = c.between(0.002, 0.008)
        c.disc(c.between(0, 1), c.between(0, 0.85), radius, radius, c.color((235, 235, 245), 20))
    if c.rng.random() < 0.7:
        x, y, radius = c.between(0.15, 0.85), c.between(0.12, 0.45), c.between(0.05, 0.1)
        c.disc(x, y, radius, radius, c.color((240, 235, 205)))
        if c.rng.random() < 0.5:
            c.disc(x + radius * 0.5, y - radius * 0.2, radius * 0.9, radius * 0.9, c.color((14, 16, 42), 4))
    c.ridge(c.between(0.7, 0.9), 0.05, c.color((12, 14, 20), 6))
    for _ in range(c.count(0, 12)):
        c.box(c.between(0, 1), c.between(0.85, 0.97), 0.015, 0.015, c.color((250, 205, 110)))


def _sky(c: Canvas) -> None:
    c.sky(1, BLUES + SUNSETS)
    c.sun(0.9)
    c.clouds(c.count(6, 14), 1, c.between(0.14, 0.26))


def _snow(c: Canvas) -> None:
    horizon = c.between(0.4, 0.6)
    c.sky(1, BLUES)
    c.ridge(horizon - 0.06, 0.03, c.color((205, 212, 225)))
    c.ridge(horizon, 0.03, c.color((236, 240, 246), 8))
    for depth in np.linspace(0, 1, c.count(4, 9)):
        base = horizon + 0.03 + 0.35 * float(depth)
        c.tree(c.between(0, 1), base, 0.18 + 0.25 * float(depth), True, (50, 78, 70))
    for _ in range(c.count(0, 120)):
        radius = c.between(0.003, 0.009)
        c.disc(c.between(0, 1), c.between(0, 1), radius, radius, c.color((250, 250, 252), 4))


def _lake(c: Canvas) -> None:
    shore = c.between(0.45, 0.58)
    c.sky(shore, BLUES + SUNSETS)
    c.clouds(c.count(0, 3), shore * 0.6, 0.12)
    c.ridge(shore - 0.14, 0.06, c.color((90, 105, 125), 20))
    c.ridge(shore - 0.05, 0.025, c.color((60, 90, 55), 20))
    edge = round(shore * c.side)
    mirrored = c.image.crop((0, 0, c.side, edge)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirrored = mirrored.resize((c.side, c.side - edge))
    water = Image.blend(mirrored, Image.new("RGB", mirrored.size, c.color((45, 85, 110))), c.between(0.3, 0.5))
    c.image.paste(water.filter(ImageFilter.BoxBlur(c.side / 90)), (0, edge))
    for _ in range(c.count(20, 45)):
        x, y = c.between(0, 1), c.between(shore, 1)
        c.line([(x, y), (x + c.between(0.04, 0.16), y)], 0.006, c.color((170, 195, 210)))


def _highway(c: Canvas) -> None:
    horizon = c.between(0.35, 0.52)
    c.sky(horizon, BLUES + SUNSETS)
    c.clouds(c.count(0, 3), horizon * 0.7, 0.12)
    verge: Color = [(110, 140, 75), (185, 160, 110), (125, 120, 100)][c.count(0, 2)]
    c.gradient(horizon, 1, verge, (verge[0] - 20, verge[1] - 20, verge[2] - 15))
    x, left, right = c.between(0.3, 0.7), c.between(-0.25, 0.15), c.between(0.85, 1.25)
    c.polygon([(x - 0.01, horizon), (x + 0.01, horizon), (right, 1), (left, 1)], c.color((90, 90, 95)))
    middle = (left + right) / 2
    for near in (0.06, 0.16, 0.32, 0.6):
        far = near * 1.5
        (x1, y1), (x2, y2) = (((1 - t) * x + t * middle, (1 - t) * horizon + t) for t in (near, far))
        dash = [(x1 - 0.025 * near, y1), (x1 + 0.025 * near, y1), (x2 + 0.025 * far, y2), (x2 - 0.025 * far, y2)]
        c.polygon(dash, c.color((240, 235, 210), 8))
    for side in (left + 0.05, right - 0.05):
        c.line([(x, horizon), (side, 1)], 0.01, c.color((235, 235, 230), 8))
    for _ in range(c.count(0, 2)):
        t = c.between(0.2, 0.6)
        cx, cy = (1 - t) * x + t * (middle + right) / 2, (1 - t) * horizon + t
        car = c.color((170, 60, 50), 70)
        c.box(cx - 0.13 * t, cy - 0.14 * t, 0.26 * t, 0.12 * t, car)
        c.box(cx - 0.09 * t, cy - 0.23 * t, 0.18 * t, 0.1 * t, c.color((60, 70, 85)))


def _room(c: Canvas) -> None:
    wall = c.color([(215, 205, 185), (180, 195, 200), (200, 170, 150)][c.count(0, 2)])
    floor, left, top = c.between(0.62, 0.75), c.between(0.12, 0.25), c.between(0.08, 0.16)
    c.box(0, 0, 1, 1, wall)
    c.polygon([(0, 0), (left, top), (left, floor), (0, 1)], c.color((wall[0] - 28, wall[1] - 28, wall[2] - 28), 5))
    c.polygon([(0, 0), (1, 0), (1, top), (left, top)], c.color((240, 238, 232), 6))
    c.polygon([(left, floor), (1, floor), (1, 1), (0, 1)], c.color((150, 110, 75), 25))
    x, width = c.between(0.35, 0.5), c.between(0.22, 0.35)
    c.box(x, top + 0.08, width, 0.27, c.color((245, 245, 240), 5))
    c.box(x + 0.02, top + 0.1, width - 0.04, 0.23, c.color((160, 200, 235)))
    c.box(x + width / 2 - 0.008, top + 0.1, 0.016, 0.23, c.color((245, 245, 240), 5))
    fabric = c.color([(120, 70, 70), (70, 90, 120), (95, 110, 80)][c.count(0, 2)], 30)
    x, y, width = c.between(0.28, 0.42), floor - c.between(0.04, 0.1), c.between(0.35, 0.5)
    c.box(x, y, width, 0.14, fabric)
    c.box(x - 0.04, y + 0.1, width + 0.08, 0.13, c.color((fabric[0] - 20, fabric[1] - 20, fabric[2] - 20), 5))
    if c.rng.random() < 0.6:
        lamp = c.between(0.85, 0.95)
        c.line([(lamp, floor + 0.1), (lamp, floor - 0.25)], 0.01, c.color((70, 65, 60)))
        shade = [(-0.06, -0.22), (-0.03, -0.33), (0.03, -0.33), (0.06, -0.22)]
        c.polygon([(lamp + dx, floor + dy) for dx, dy in shade], c.color((250, 225, 160)))


SCENES: dict[str, Callable[[Canvas], None]] = {
    "beach": _beach,
    "city": _city,
    "forest": _forest,
    "mountain": _mountain,
    "desert": _desert,
    "night": _night,
    "field": _field,
    "sky": _sky,
    "snow": _snow,
    "lake": _lake,
    "highway": _highway,
    "room": _room,
}
"""The scenes that can be drawn, in the order in which `classes` takes them."""

PLACES: dict[str, Place] = {
    name: Place(indoor_outdoor="indoor" if name == "room" else "outdoor", category=category)
    for name, category in {
        "beach": ("nature", "water"),
        "city": ("built", "town"),
        "forest": ("nature", "forest and field"),
        "mountain": ("nature", "mountains and desert"),
        "desert": ("nature", "mountains and desert"),
        "night": ("nature", "sky"),
        "field": ("nature", "forest and field"),
        "sky": ("nature", "sky"),
        "snow": ("nature", "snow and ice"),
        "lake": ("nature", "water"),
        "highway": ("built", "roads"),
        "room": ("built", "home"),
    }.items()
}
"""What is known of each scene beside its name, by scene."""
