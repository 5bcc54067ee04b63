"""Nodes for tests that have no event loop: real servers, files and sockets, on a loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from spec.types import Config
from tests.nodes import THREE, running, settings_of


class Live:
    """A cluster that serves for as long as the block lasts."""

    def __init__(self, directory: Path, nodes: int, config: Config = THREE, up: int | None = None) -> None:
        """A cluster of so many nodes, of which the first `up` serve, or all."""
        self.settings = list(settings_of(directory, "abcde"[:nodes], config).values())
        self.addresses = [str(settings.listen) for settings in self.settings]
        self._nodes_up = up
        self._up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        done = asyncio.Event()
        try:
            async with running(*self.settings[: self._nodes_up]):
                self._up.set_result((asyncio.get_running_loop(), done))
                await done.wait()
        except BaseException as error:
            if not self._up.done():
                self._up.set_exception(error)
            raise

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.result(timeout=20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, done = self._up.result()
        loop.call_soon_threadsafe(done.set)
        self._thread.join(timeout=20)
