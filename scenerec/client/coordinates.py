"""Where and when photographs were taken, as a caller of the endpoint says it."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Coordinates:
    """Where and perhaps when photographs were taken. The endpoint refuses impossible ones, and keeps them in no log."""

    lat: float
    """Degrees north, from -90 to 90."""
    lon: float
    """Degrees east, from -180 to 180."""
    time: date | str | None = None
    """A date or datetime, or the same as ISO text; None where it is not known."""

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form."""
        time = self.time.isoformat() if isinstance(self.time, date) else self.time
        return {"lat": str(self.lat), "lon": str(self.lon), **({"time": time} if time else {})}
