"""The connection to a Ray cluster, or to one that is started on this machine and ends with the sweep, and its
nodes."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from noisybench.errors import InvalidValue
from noisybench.sweeps.resources import cores

TIMEOUT = 10  # seconds to wait for an answer at an address


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Connect to a Ray cluster, and yield whether it was started here.

    address: HOST:PORT of its head; "auto" for a cluster that runs on this machine; None for $RAY_ADDRESS, or
    else a new cluster of this machine alone.  Raises InvalidValue.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray would warn that a later version hides the GPUs from runs that reserve none.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
    except ImportError as error:
        raise InvalidValue(
            f"--executor ray needs Ray ({error}). Install it with: pip install 'noisybench[ray]'"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        settings |= {"include_dashboard": False, "num_cpus": cores()}
    _probe(address)
    on_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    # Ray prints a paragraph on each lost worker; standard output is for results.
    with redirect_stdout(sys.stderr):
        try:
            ray.init(address=address, **settings)
        except Exception as error:  # Ray raises errors of many kinds here
            ray.shutdown()
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise InvalidValue(
                f"Ray cannot be reached at '{address}': {lines[0] if lines else type(error).__name__}"
            ) from None
        finally:
            if on_main:
                # Ray installs a handler of its own.
                signal.signal(signal.SIGTERM, before)
        try:
            yield address == "local"
        finally:
            ray.shutdown()


def _probe(address: str) -> None:
    """Raise InvalidValue if nothing listens at HOST:PORT, where Ray would try for minutes."""
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidValue(
            f"address is '{address}', but must be HOST:PORT of the head of a Ray cluster, or auto."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValue(f"No Ray cluster answers at {address}: {reason}.") from None


class Nodes:
    """The nodes of the Ray cluster that this process is connected to, and what a run reserves on one.

    device: the runs choose it on their nodes.  gpus: None means 1 if the cluster has GPUs, unless the device
    is cpu.
    """

    def __init__(self, device: str, cpus: int = 1, gpus: float | None = None) -> None:
        import ray

        self.ray = ray
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        self.cpus = cpus
        self.gpus = float(has_gpus and device != "cpu") if gpus is None else gpus
        # A run that reserves no GPU must not take one that others share.
        self.device = "cpu" if has_gpus and device == "auto" and not self.gpus else device

    def alive(self) -> list[dict[str, Any]]:
        """Ray's descriptions of the nodes that are there now."""
        return [node for node in self.ray.nodes() if node["Alive"]]

    def capacity(self) -> int:
        """How many runs an empty cluster can train at the same time."""
        capacity = 0
        for node in self.alive():
            resources = node["Resources"]
            on_node = int(resources.get("CPU", 0) // self.cpus)
            if self.gpus:
                # A fraction of a GPU is of one GPU.
                per_gpu = int(1 / self.gpus) if self.gpus < 1 else 1 / self.gpus
                on_node = min(on_node, int(int(resources.get("GPU", 0)) * per_gpu))
            capacity += on_node
        return capacity

    def missing(self) -> str:
        """Say which resources no node has; empty if a node is large enough for a run."""
        if self.capacity():
            return ""
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        sizes = {
            f"{node['Resources'].get('CPU', 0):g} CPUs and {node['Resources'].get('GPU', 0):g} GPUs"
            for node in self.alive()
        }
        return f"A run needs {self.cpus} CPUs{gpus}, but no node has: {'; '.join(sorted(sizes))}."

    def only(self, node: str) -> Any:
        """The strategy that schedules a task on the node with this id."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id=node, soft=False)
