"""Signals that end a command."""

from __future__ import annotations

import signal


def stop_by_interrupt() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so that what is running cleans up behind it.

    Clusters end a job by SIGTERM, a terminal that is closed by SIGHUP; what a script begins in the background ignores
    SIGINT.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.default_int_handler)
