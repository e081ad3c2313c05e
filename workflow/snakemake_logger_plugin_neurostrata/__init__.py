"""Snakemake's logger ``neurostrata``: progress that people read, ``snakemake --logger neurostrata``.

Snakemake imports this package in every call when it finds it (by its name, in the folders of Python's path), jobs' own calls
included: everything else is imported when the logger is asked for.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase

if TYPE_CHECKING:
    from snakemake_logger_plugin_neurostrata.reporter import Reporter


class LogHandler(LogHandlerBase):
    """Shows a run in a terminal by a few lines that move, and elsewhere by a line now and then.

    Snakemake calls it in a thread of its own, one message after another.
    """

    #: The workflow then keeps its jobs from writing to the terminal (``neurostrata.controller.session.shows_messages``).
    shows_messages = True

    def __post_init__(self) -> None:
        from snakemake_logger_plugin_neurostrata.reporter import Reporter
        from snakemake_logger_plugin_neurostrata.screens import screen_for

        settings: Any = self.common_settings
        screen = screen_for(sys.stdout if settings.stdout else sys.stderr, nocolor=settings.nocolor)
        self.reporter: Reporter | None = Reporter(screen, settings)
        self._over = threading.Event()
        threading.Thread(target=self._tick, args=(screen.every_s,), daemon=True).start()
        atexit.register(self.close)  # Snakemake closes its loggers itself, except when it crashes

    def _tick(self, every_s: float) -> None:
        while not self._over.wait(every_s):
            with contextlib.suppress(Exception), self._locked():
                if self.reporter is not None:
                    self.reporter.refresh()

    @contextlib.contextmanager
    def _locked(self) -> Any:
        self.acquire()  # logging holds it while a message is taken
        try:
            yield
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message; one that cannot be shown is printed as it is, so that no error is lost."""
        try:
            if self.reporter is not None:
                self.reporter.take(record)
        except BrokenPipeError:
            raise
        except Exception:
            if record.levelno >= logging.WARNING:
                print(record.getMessage(), file=sys.stderr)
            self.handleError(record)

    def close(self) -> None:
        """Say how the run has ended and leave the terminal clean."""
        self._over.set()
        with self._locked():
            reporter, self.reporter = self.reporter, None
            if reporter is not None:
                with contextlib.suppress(OSError, ValueError):
                    reporter.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own output."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's own log file is kept as it is."""
        return False

    @property
    def has_filter(self) -> bool:
        """Messages are chosen here, so that errors are shown whatever ``--quiet`` says."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Messages are worded here."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Not needed."""
        return False
