"""A node as a process: everything is checked and taken in an order in which a refusal leaves nothing behind.

The address first, then the data file, then the run begins with a committed start event, and only then is anybody
served. SIGTERM and SIGINT end it: the batch that is being committed is finished, the file is closed, and nothing is
left of its write-ahead log.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable

from impl.errors import UserError
from impl.runtime import Runtime
from impl.server import Server
from impl.settings import Settings
from impl.storage import open_storage
from impl.transport import Frames, listen


async def serve(settings: Settings, say: Callable[[str], None], stop: asyncio.Event) -> None:
    """Run a node until told to stop. Raises UserError, having changed nothing, if it cannot be started."""
    server: Server | None = None

    def accept() -> Frames:
        assert server is not None, "nothing is accepted before the server is there"
        return server.accept()

    listening = await listen(settings.listen, accept)
    try:
        storage = open_storage(settings.data, settings.name)
    except UserError:
        listening.close()
        raise
    try:
        runtime = Runtime(storage, settings.name, settings.config, settings.members, record=settings.record)
        released = runtime.start(secrets.token_hex(8))
        if runtime.replaced_recording:
            say("an earlier recording had a gap or another configuration; a new one takes its place")
        server = Server(settings, runtime, say)
        server.release(released)
        say(f"node {settings.name} listens on {settings.listen}, run {runtime.epoch}")
        await server.run(listening, stop)
        say(f"node {settings.name} stopped")
    finally:
        listening.close()
        storage.close()


def run_node(settings: Settings, say: Callable[[str], None], *, until_eof: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT, or until standard input ends. Raises UserError."""

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if until_eof:
            loop.add_reader(0, stop.set)  # nobody writes there: readable means that it ended
        await serve(settings, say, stop)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
