"""What Ray carries to its workers as code.

Functions within functions travel whole, so that a worker needs no noisybench to receive them, and can say
itself that it has none, or another.
"""

from collections.abc import Callable
from typing import Any


def task(version: str, place: str) -> Callable[..., Any]:
    """The function that carries out an errand, by noisybench of this version as it is on the node.

    place: the folder that has the driver's own copy, which is taken where the node has it as well.  It
    returns the node's id and an `Answer`, or, in words, why the noisybench there cannot be used.
    """

    def noisybench_run(identity: str, errand: bytes, data: list[Any], mailbox: Any) -> tuple[str, Any]:
        import os
        import socket
        import sys

        import ray

        node = ray.get_runtime_context().get_node_id()
        if os.path.isfile(os.path.join(place, "noisybench", "__init__.py")) and place not in sys.path[:1]:
            # Before the driver's working directory, where Ray looks first, and another copy may lie.
            sys.path.insert(0, place)
        try:
            import noisybench
            from noisybench.sweeps.node import work
        except ImportError as error:
            return node, (
                f"noisybench cannot be imported on {socket.gethostname()}, a node of the cluster: {error}."
                f" Install noisybench {version} there."
            )
        if noisybench.__version__ != version:
            return node, (
                f"{socket.gethostname()}, a node of the cluster, has noisybench {noisybench.__version__}, and"
                f" this is {version}: install the same on all nodes."
            )

        def fetch(n: int) -> Any:
            return ray.get(data[n])

        def post(letter: bytes, arrive: bool) -> None:
            sent = mailbox.post.remote(identity, letter)
            if arrive:
                ray.get(sent)

        return node, work(errand, fetch, post)

    return noisybench_run


def mailbox() -> type:
    """The actor that keeps what runs tell until the driver asks for it."""

    class NoisybenchMailbox:
        def __init__(self) -> None:
            self.letters: list[tuple[str, bytes]] = []

        def post(self, identity: str, letter: bytes) -> None:
            self.letters.append((identity, letter))

        def empty(self) -> list[tuple[str, bytes]]:
            letters, self.letters = self.letters, []
            return letters

    return NoisybenchMailbox


def cleaning(place: str) -> Callable[..., None]:
    """The function that removes from a node what it keeps of runs that have been brought back."""

    def noisybench_clean(sweep: str, identities: list[str]) -> None:
        import contextlib
        import os
        import shutil
        import sys

        if os.path.isfile(os.path.join(place, "noisybench", "__init__.py")) and place not in sys.path[:1]:
            sys.path.insert(0, place)
        from noisybench.sweeps.errand import folder_of

        for identity in identities:
            shutil.rmtree(folder_of(sweep, identity), ignore_errors=True)
        with contextlib.suppress(OSError):  # others are still in it
            folder_of(sweep, "").rmdir()

    return noisybench_clean
