"""A node as a process: everything is checked and taken in an order in which a refusal leaves nothing behind.

The address first, then the data file, then the run begins with a committed start event, and only then is anybody
served. SIGTERM and SIGINT end it: nothing new is begun for clients, what was begun is answered or reaches its timeout,
within a bound; then the file is closed, and nothing is left of its write-ahead log.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

from impl.frames import Frames
from impl.metrics import Metrics
from impl.nodelog import Say, node_log
from impl.runtime import Runtime
from impl.server import Server
from impl.settings import Settings
from impl.storage import StorageError, open_storage
from impl.transport import listen

GC_THRESHOLDS = 20_000, 20, 50
"""How seldom Python looks for cycles. What passes through a node has none, and looking costs it a tenth of its time."""


async def serve(settings: Settings, say: Say, stop: asyncio.Event) -> None:
    """Run a node until told to stop. Raises UserError, having changed nothing, if it cannot be started."""
    server: Server | None = None

    def accept() -> Frames:
        assert server is not None, "nothing is accepted before the server is there"
        return server.accept()

    with ExitStack() as taken:
        listening = await listen(settings.listen, accept)
        taken.callback(listening.close)
        metrics = Metrics(settings.metrics) if settings.metrics is not None else None
        if metrics is not None:
            taken.callback(metrics.close)
        storage = open_storage(settings.data, settings.name)
        taken.callback(storage.close)
        runtime = Runtime(storage, settings.name, settings.config, settings.members, record=settings.record)
        runtime.on_new_recording = lambda: say("recording begins anew", reason="the earlier one had grown too long")
        released = runtime.start(secrets.token_hex(8))
        if runtime.replaced_recording:
            say("recording begins anew", reason="the earlier one had a gap, another configuration, or no room")
        server = Server(settings, runtime, say)
        server.release(released)
        if metrics is not None:
            metrics.serve(server.status)
        say("listening", address=str(settings.listen), run=runtime.epoch)
        await server.run(listening, stop)
        try:
            runtime.close()
        except StorageError as error:
            say("the recording was not closed", reason=str(error))
        say("stopped")


def run_node(settings: Settings, *, until_eof: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT, or until standard input ends. Raises UserError."""

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if until_eof:
            loop.add_reader(0, stop.set)  # nobody writes there: readable means that it ended
        try:
            await serve(settings, node_log(settings.name, settings.log), stop)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)  # uvloop leaves its own behind, which is deaf once it is closed

    occupy_standard_streams()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def occupy_standard_streams() -> None:
    """Where there is no standard input, output or error, make it one of nothing.

    Else the next thing that is opened takes its number, and what is meant for standard error goes there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lasts


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
