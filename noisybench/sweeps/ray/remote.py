"""The functions that Ray runs on the nodes.

A function inside a function is sent whole, so that a node needs no noisybench to receive it, and can say
itself that noisybench is missing there or has another version.
"""

from collections.abc import Callable
from typing import Any


def training_task(version: str, place: str) -> Callable[..., Any]:
    """The function that trains the run of a `RunRequest` with the noisybench of the node.

    version: the driver's, which the node must have too.  place: the folder of the driver's own copy, which is
    preferred where the node has it as well.  The function returns the node's id and a `RunResponse`, or a
    text that says why the node's noisybench cannot be used.
    """

    def noisybench_run(identity: str, request: bytes, data: list[Any], mailbox: Any) -> tuple[str, Any]:
        import os
        import socket
        import sys

        import ray

        node = ray.get_runtime_context().get_node_id()
        if os.path.isfile(os.path.join(place, "noisybench", "__init__.py")) and place not in sys.path[:1]:
            # Before the driver's working directory, where Ray looks first and another copy may lie.
            sys.path.insert(0, place)
        try:
            import noisybench
            from noisybench.sweeps.ray.node import work
        except ImportError as error:
            return node, (
                f"noisybench cannot be imported on {socket.gethostname()}, a node of the cluster: {error}."
                f" Install noisybench {version} there."
            )
        if noisybench.__version__ != version:
            return node, (
                f"{socket.gethostname()}, a node of the cluster, has noisybench {noisybench.__version__}, but"
                f" this machine has {version}: install the same version on all nodes."
            )

        def fetch(n: int) -> Any:
            return ray.get(data[n])

        def post(message: bytes, wait: bool) -> None:
            sent = mailbox.post.remote(identity, message)
            if wait:
                ray.get(sent)

        return node, work(request, fetch, post)

    return noisybench_run


def mailbox() -> type:
    """The actor that keeps the runs' messages until the driver asks for them."""

    class NoisybenchMailbox:
        def __init__(self) -> None:
            self.messages: list[tuple[str, bytes]] = []

        def post(self, identity: str, message: bytes) -> None:
            self.messages.append((identity, message))

        def empty(self) -> list[tuple[str, bytes]]:
            messages, self.messages = self.messages, []
            return messages

    return NoisybenchMailbox


def cleaning_task(place: str) -> Callable[..., None]:
    """The function that removes the folders of finished runs from a node."""

    def noisybench_clean(sweep: str, identities: list[str]) -> None:
        import contextlib
        import os
        import shutil
        import sys

        if os.path.isfile(os.path.join(place, "noisybench", "__init__.py")) and place not in sys.path[:1]:
            sys.path.insert(0, place)
        from noisybench.sweeps.ray.messages import run_folder

        for identity in identities:
            shutil.rmtree(run_folder(sweep, identity), ignore_errors=True)
        with contextlib.suppress(OSError):  # other runs are still in it
            run_folder(sweep, "").rmdir()

    return noisybench_clean
