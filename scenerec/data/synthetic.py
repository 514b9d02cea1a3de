"""Drawn scenes: an ImageFolder to try everything with, learnable in a few epochs, the same bytes for the same seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scenerec.data.manifest import Place
from scenerec.data.packing.places import PLACES_FILE, write_places
from scenerec.errors import DataError

Color = tuple[float, float, float]
SUPERSAMPLING = 2
JPEG_QUALITY = 88

BLUES: list[tuple[Color, Color]] = [
    ((70, 130, 200), (180, 215, 240)),
    ((120, 150, 180), (205, 215, 225)),
    ((150, 155, 165), (200, 200, 205)),
]
SUNSETS: list[tuple[Color, Color]] = [((90, 80, 140), (250, 170, 110)), ((130, 100, 130), (255, 205, 150))]


def draw_scenes(
    folder: Path,
    classes: int = 6,
    train_per_class: int = 120,
    val_per_class: int = 30,
    size: int = 96,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Writes `train/CLASS/00000.jpg` and `val/CLASS/00000.jpg`, squares of `size` pixels, and places.csv.

    Returns the class names. `on_progress` is called with the images drawn and all. Raises DataError for a folder that
    is not empty and for a number out of range.
    """
    limits = {"classes": (classes, 2, len(SCENES)), "train_per_class": (train_per_class, 1, 10**5)}
    limits |= {"val_per_class": (val_per_class, 1, 10**5), "size": (size, 16, 1024), "seed": (seed, 0, 2**32 - 1)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise DataError(f"{name}: {value} is not from {low} to {high}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is not empty: choose a new folder")
    names = tuple(SCENES)[:classes]
    total = classes * (train_per_class + val_per_class)
    done = 0
    for split_index, (split, count) in enumerate((("train", train_per_class), ("val", val_per_class))):
        for class_index, name in enumerate(names):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                image = draw_scene(name, size, np.random.default_rng([seed, split_index, class_index, index]))
                image.save(target / f"{index:05d}.jpg", quality=JPEG_QUALITY)
                done += 1
                on_progress(done, total)
    write_places(folder / PLACES_FILE, {name: PLACES[name] for name in sorted(names)})
    return tuple(sorted(names))


def draw_scene(name: str, size: int, rng: np.random.Generator) -> Image.Image:
    """One RGB picture of `size` x `size` pixels of the scene `name`, a key of SCENES."""
    canvas = _Canvas(size * SUPERSAMPLING, rng)
    SCENES[name](canvas)
    image = canvas.image.resize((size, size), Image.Resampling.BOX)
    pixels = np.asarray(image).astype(np.float64)
    tint = rng.uniform(0.88, 1.12, 3) * rng.uniform(0.8, 1.15)  # light differs, so colour alone tells little
    pixels = pixels * tint + rng.normal(0, rng.uniform(3, 9), pixels.shape)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


class _Canvas:
    """A square to draw on; coordinates are shares of its side, from the upper left corner."""

    def __init__(self, side: int, rng: np.random.Generator) -> None:
        self.side = side
        self.rng = rng
        self.image = Image.new("RGB", (side, side))
        self.draw = ImageDraw.Draw(self.image)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def color(self, base: Color, spread: float = 18) -> tuple[int, int, int]:
        """A colour near `base`: a common change of brightness, and a smaller one per channel."""
        shift = self.rng.uniform(-spread, spread) + self.rng.uniform(-spread / 2, spread / 2, 3)
        red, green, blue = np.clip(np.asarray(base) + shift, 0, 255).astype(int).tolist()
        return red, green, blue

    def gradient(self, top: float, bottom: float, upper: Color, lower: Color) -> None:
        rows = np.linspace(self.color(upper), self.color(lower), max(2, round((bottom - top) * self.side)))
        block = np.repeat(rows[:, None], self.side, axis=1).clip(0, 255).astype(np.uint8)
        self.image.paste(Image.fromarray(block), (0, round(top * self.side)))

    def sky(self, bottom: float, palettes: list[tuple[Color, Color]]) -> None:
        upper, lower = palettes[self.count(0, len(palettes) - 1)]
        self.gradient(0, bottom, upper, lower)

    def polygon(self, points: list[tuple[float, float]], color: tuple[int, int, int]) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], color)

    def box(self, x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)

    def disc(self, x: float, y: float, rx: float, ry: float, color: tuple[int, int, int]) -> None:
        corners = [(x - rx) * self.side, (y - ry) * self.side, (x + rx) * self.side, (y + ry) * self.side]
        self.draw.ellipse(corners, color)

    def line(self, points: list[tuple[float, float]], width: float, color: tuple[int, int, int]) -> None:
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(scaled, color, max(1, round(width * self.side)), joint="curve")

    def sun(self, horizon: float) -> None:
        if self.rng.random() < 0.5:
            radius = self.between(0.03, 0.08)
            x, y = self.between(0.1, 0.9), self.between(0.05, horizon - radius)
            self.disc(x, y, radius, radius, self.color((255, 240, 190)))

    def clouds(self, number: int, bottom: float, size: float) -> None:
        """Soft heaps of discs."""
        mask = Image.new("L", self.image.size)
        draw = ImageDraw.Draw(mask)
        for _ in range(number):
            x, y, width = self.between(-0.1, 1.1), self.between(0, bottom), size * self.between(0.5, 1.4)
            for _ in range(7):
                cx, cy = x + self.between(-width, width), y + self.between(-0.2, 0.2) * width
                r = width * self.between(0.2, 0.5)
                corners = [(cx - r) * self.side, (cy - 0.6 * r) * self.side]
                draw.ellipse([*corners, (cx + r) * self.side, (cy + 0.6 * r) * self.side], self.count(120, 240))
        mask = mask.filter(ImageFilter.GaussianBlur(self.side / 60))
        self.image.paste(self.color((243, 243, 246), 8), (0, 0), mask)

    def ridge(self, y: float, height: float, color: tuple[int, int, int], waves: int = 6) -> list[tuple[float, float]]:
        """Ground up to a random skyline around `y`; returns the skyline."""
        x = np.linspace(0, 1, 60)
        skyline = np.zeros_like(x)
        for wave in range(1, waves + 1):
            phase = self.rng.uniform(0, 2 * np.pi)
            skyline += np.sin(np.pi * wave * x * self.rng.uniform(0.7, 1.6) + phase) / wave**1.3
        points = [(float(a), y + height * float(b)) for a, b in zip(x, skyline, strict=True)]
        self.polygon([*points, (1, 1), (0, 1)], color)
        return points

    def speckle(self, number: int, top: float, bottom: float, base: Color, size: float) -> None:
        """Small flat spots that grow towards the viewer: grass, pebbles, flowers."""
        for _ in range(number):
            depth = self.rng.random()
            radius = size * (0.3 + depth)
            self.disc(self.rng.random(), top + (bottom - top) * depth, radius, radius / 2, self.color(base, 30))

    def tree(self, x: float, base: float, height: float, conifer: bool, leaves: Color) -> None:
        trunk = self.color((80, 58, 40))
        self.box(x - height * 0.03, base - height * 0.5, height * 0.06, height * 0.5, trunk)
        if conifer:
            for tier in range(3):
                top, half = base - height + tier * height * 0.22, height * (0.12 + 0.07 * tier)
                self.polygon(
                    [(x, top), (x - half, top + height * 0.4), (x + half, top + height * 0.4)], self.color(leaves)
                )
        else:
            for _ in range(8):
                dx, dy = self.between(-0.22, 0.22) * height, self.between(-0.2, 0.2) * height
                self.disc(x + dx, base - height * 0.72 + dy, height * 0.16, height * 0.14, self.color(leaves))


def _beach(c: _Canvas) -> None:
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


def _city(c: _Canvas) -> None:
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


def _desert(c: _Canvas) -> None:
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


def _field(c: _Canvas) -> None:
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


def _forest(c: _Canvas) -> None:
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


def _mountain(c: _Canvas) -> None:
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


def _night(c: _Canvas) -> None:
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


def _sky(c: _Canvas) -> None:
    c.sky(1, BLUES + SUNSETS)
    c.sun(0.9)
    c.clouds(c.count(6, 14), 1, c.between(0.14, 0.26))


def _snow(c: _Canvas) -> None:
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


def _lake(c: _Canvas) -> None:
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


def _highway(c: _Canvas) -> None:
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


def _room(c: _Canvas) -> None:
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


SCENES: dict[str, Callable[[_Canvas], None]] = {
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
