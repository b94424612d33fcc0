"""A connection to a Ray cluster, or to one that is started on this machine and ends with it."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noisybench.errors import InvalidValue
from noisybench.sweeps.at_once import cores

SECONDS = 10  # to wait for somebody to answer at an address

# How HTTP/2 begins, which Ray's servers speak (RFC 9113, 3.4): a server answers with its own settings.
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Be connected to the cluster at this address ("auto": one that runs on this machine), by default that
    of $RAY_ADDRESS, or else a cluster of this machine alone, and yield whether it is that one.  Raises
    InvalidValue."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray would warn that a later version leaves the GPUs of a run without any visible to it.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
    except ImportError as error:
        raise InvalidValue(
            f"--executor ray needs Ray ({error}). Install it with: pip install 'noisybench[ray]'"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        quiet |= {"include_dashboard": False, "num_cpus": cores()}
    _knock(address)
    on_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if hasattr(ray._private.worker, "print_to_stdstream"):
        # A paragraph on each lost worker, which nothing public turns off; our displays say it in a line.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises errors of many kinds here
        ray.shutdown()
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise InvalidValue(
            f"Ray cannot be reached at '{address}': {lines[0] if lines else type(error).__name__}"
        ) from None
    finally:
        if on_main:
            # Ray puts a handler of its own in the place of ours.
            signal.signal(signal.SIGTERM, before)
    try:
        yield address == "local"
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise InvalidValue if no server of Ray's kind listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        if address not in ("local", "auto"):
            raise InvalidValue(
                f"address is '{address}', but must be HOST:PORT of the head of a Ray cluster, or auto."
            )
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(HELLO)
                if connection.recv(len(SETTINGS))[3:4] != SETTINGS[3:4]:
                    raise OSError("who listens there is not Ray")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValue(f"No Ray cluster answers at {address}: {reason}.") from None
