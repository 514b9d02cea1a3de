"""A canvas on which scenes are drawn from simple shapes and random numbers."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Color = tuple[float, float, float]
"""Red, green and blue, each from 0 to 255."""


class Canvas:
    """A square to draw on; coordinates are shares of its side, from the upper left corner."""

    def __init__(self, side: int, rng: np.random.Generator) -> None:
        self.side = side
        self.rng = rng
        self.image = Image.new("RGB", (side, side))
        self.draw = ImageDraw.Draw(self.image)

    def between(self, low: float, high: float) -> float:
        """Draws a number from [low, high)."""
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """Draws a whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def color(self, base: Color, spread: float = 18) -> tuple[int, int, int]:
        """A colour near `base`: a common change of brightness, and a smaller one per channel."""
        shift = self.rng.uniform(-spread, spread) + self.rng.uniform(-spread / 2, spread / 2, 3)
        red, green, blue = np.clip(np.asarray(base) + shift, 0, 255).astype(int).tolist()
        return red, green, blue

    def gradient(self, top: float, bottom: float, upper: Color, lower: Color) -> None:
        """Fills the rows from `top` to `bottom` with a passage from one colour to the other."""
        rows = np.linspace(self.color(upper), self.color(lower), max(2, round((bottom - top) * self.side)))
        block = np.repeat(rows[:, None], self.side, axis=1).clip(0, 255).astype(np.uint8)
        self.image.paste(Image.fromarray(block), (0, round(top * self.side)))

    def sky(self, bottom: float, palettes: list[tuple[Color, Color]]) -> None:
        """Fills the rows down to `bottom` with a passage of one of the palettes."""
        upper, lower = palettes[self.count(0, len(palettes) - 1)]
        self.gradient(0, bottom, upper, lower)

    def polygon(self, points: list[tuple[float, float]], color: tuple[int, int, int]) -> None:
        """Fills the polygon with these corners."""
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], color)

    def box(self, x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        """Fills the rectangle whose upper left corner is (x, y)."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)

    def disc(self, x: float, y: float, rx: float, ry: float, color: tuple[int, int, int]) -> None:
        """Fills the ellipse around (x, y) with these radii."""
        corners = [(x - rx) * self.side, (y - ry) * self.side, (x + rx) * self.side, (y + ry) * self.side]
        self.draw.ellipse(corners, color)

    def line(self, points: list[tuple[float, float]], width: float, color: tuple[int, int, int]) -> None:
        """Draws a line through the points."""
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(scaled, color, max(1, round(width * self.side)), joint="curve")

    def sun(self, horizon: float) -> None:
        """Draws a sun above the horizon, in half of the pictures."""
        if self.rng.random() < 0.5:
            radius = self.between(0.03, 0.08)
            x, y = self.between(0.1, 0.9), self.between(0.05, horizon - radius)
            self.disc(x, y, radius, radius, self.color((255, 240, 190)))

    def clouds(self, number: int, bottom: float, size: float) -> None:
        """Draws soft heaps of discs above `bottom`."""
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
        """Fills the ground up to a random skyline around `y`; returns the skyline."""
        x = np.linspace(0, 1, 60)
        skyline = np.zeros_like(x)
        for wave in range(1, waves + 1):
            phase = self.rng.uniform(0, 2 * np.pi)
            skyline += np.sin(np.pi * wave * x * self.rng.uniform(0.7, 1.6) + phase) / wave**1.3
        points = [(float(a), y + height * float(b)) for a, b in zip(x, skyline, strict=True)]
        self.polygon([*points, (1, 1), (0, 1)], color)
        return points

    def speckle(self, number: int, top: float, bottom: float, base: Color, size: float) -> None:
        """Scatters small flat spots that grow towards the viewer: grass, pebbles, flowers."""
        for _ in range(number):
            depth = self.rng.random()
            radius = size * (0.3 + depth)
            self.disc(self.rng.random(), top + (bottom - top) * depth, radius, radius / 2, self.color(base, 30))

    def tree(self, x: float, base: float, height: float, conifer: bool, leaves: Color) -> None:
        """Draws a tree that stands at (x, base), a conifer or one with a round crown."""
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
