"""What a request may ask for."""

from dataclasses import dataclass

from serve.answers import RequestError


@dataclass(frozen=True)
class Limits:
    """The same for every request, by whichever protocol."""

    body_bytes: int = 20_000_000
    """Of its body."""
    images: int = 64
    """In one request."""
    timeout_s: float = 10.0
    """For an answer, from when its images are there."""
    body_timeout_s: float = 60.0
    """For its body to arrive."""

    def check_images(self, count: int) -> None:
        """Raises RequestError where a request has more images. To be asked before anything is made of each."""
        if count > self.images:
            raise RequestError(413, "body_too_large", f"{count} images: at most {self.images} in one request")
