"""A window that shows what `scenerec watch` sees, by Tk, which comes with Python."""

import numpy as np

from scenerec.errors import ConfigError, first_line

_REMEDY = "write a file: --overlay FILE.mp4"


class WatchWindow:
    """Shows frames in a window. Closing it, or the key q, ends the watching as Ctrl-C does.

    Args:
        title: of the window.

    Raises:
        ConfigError: there is no display, or Python has no Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter
        except ImportError:
            raise ConfigError(f"--overlay window: needs python3-tk: install it, or {_REMEDY}") from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ConfigError(f"--overlay window: {first_line(error)}: {_REMEDY}") from None
        self._closed = False
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._end)
        self._root.bind("q", lambda event: self._end())
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._picture = tkinter.PhotoImage(master=self._root)
        self._label.configure(image=self._picture)

    def write(self, time_s: float, pixels: np.ndarray) -> None:
        """Shows a frame, uint8 RGB [height, width, 3]. Raises KeyboardInterrupt where the window was closed."""
        height, width = pixels.shape[:2]
        self._picture.configure(data=f"P6 {width} {height} 255 ".encode() + pixels.tobytes(), format="PPM")
        self._root.update()
        if self._closed:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Takes the window away."""
        self._root.destroy()

    def _end(self) -> None:
        self._closed = True
