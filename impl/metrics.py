"""Prometheus metrics of a node, on a loopback port of their own.

Nothing is counted twice: a scrape asks the node for the very `Status` that `ringspec status` shows, and names it as
Prometheus does. Scrapes are served by threads, which read and never change what the node counts. Only loopback
addresses are taken: the port asks nobody who they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from itertools import accumulate
from threading import Thread
from typing import TYPE_CHECKING

from impl.errors import UserError, usage
from impl.meters import BOUNDS_SECONDS, Waits
from impl.transport import Address, reason_of
from impl.wire import PeerStatus, Status

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def require_loopback(address: Address) -> Address:
    """Refuse any address that others could reach (UserError)."""
    if address.host != "localhost":
        try:
            loopback = ipaddress.ip_address(address.host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise usage(f"metrics are served on a loopback address only, such as 127.0.0.1:9401, not {address}")
    return address


class Scrape:
    """What Prometheus is told; a collector of prometheus_client."""

    def __init__(self, status: Callable[[], Status]) -> None:
        """`status` is asked at each scrape."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        status = self._status()
        yield InfoMetricFamily("ringspec_node", "Who this is.", value={"node": status.node, "address": status.address})
        for name, meaning, value in gauges(status):
            yield GaugeMetricFamily(f"ringspec_{name}", meaning, value=value)
        for name, meaning, value in counters(status):
            yield CounterMetricFamily(f"ringspec_{name}", meaning, value=value)
        replies = CounterMetricFamily("ringspec_replies", "Replies to clients.", labels=["operation", "result"])
        for operation, results in status.counts.replies.items():
            for result, count in results.items():
                replies.add_metric([operation.lower(), result.lower()], count)
        yield replies
        sent = CounterMetricFamily("ringspec_messages_sent", "Messages to other nodes.", labels=["kind"])
        for kind, count in status.counts.sent.items():
            sent.add_metric([kind.lower()], count)
        yield sent
        waits = HistogramMetricFamily("ringspec_reply_seconds", "How long clients waited.", labels=["operation"])
        for operation, waited in status.counts.waits.items():
            waits.add_metric([operation.lower()], buckets(waited), waited.seconds)
        yield waits
        for name, meaning, of in (
            ("peer_up", "Whether the link to a node is up.", lambda peer: int(peer.connected)),
            ("peer_queued", "Messages that wait for the link to a node.", lambda peer: peer.queued),
            ("peer_suspected", "Whether a node is taken to be down.", lambda peer: int(is_suspected(peer))),
            ("peer_phi", "How surprising the silence of a node is.", lambda peer: peer.opinion.phi),
            ("hints", "Keys of which something is to be handed over to a node.", lambda peer: peer.owed),
        ):
            gauge = GaugeMetricFamily(f"ringspec_{name}", meaning, labels=["peer"])
            for peer in status.peers:
                gauge.add_metric([peer.name], of(peer))
            yield gauge
        lost = CounterMetricFamily("ringspec_peer_lost", "Messages given up because too many waited.", labels=["peer"])
        for peer in status.peers:
            lost.add_metric([peer.name], peer.lost)
        yield lost


def is_suspected(peer: PeerStatus) -> bool:
    """Whether a node is taken to be down."""
    return peer.opinion.suspected_seconds is not None


def gauges(status: Status) -> Iterator[tuple[str, str, float]]:
    """What goes up and down: name, meaning, value."""
    yield "hints_limit", "Hints that the node keeps at most, of all keys and for all nodes.", status.config.limits.hints
    yield "requests_in_flight", "Requests that the node coordinates or forwards.", status.requests
    yield "events_waiting", "Events that wait for their step.", status.waiting
    yield "clients", "Connections of clients.", status.clients
    yield "data_bytes", "Size of the data file and its write-ahead log.", status.data_bytes
    yield "uptime_seconds", "Since the node was started.", status.uptime
    yield "confirmed", "Whether enough other nodes have said that the disk is not from the past.", int(status.confirmed)
    yield "lacking", "Nodes that still have to give the node what it lost with a disk.", len(status.lacking)
    yield "stopping", "Whether the node only finishes what it has begun.", int(status.stopping)


def counters(status: Status) -> Iterator[tuple[str, str, float]]:
    """What only grows while the node runs: name, meaning, value."""
    yield "steps", "Steps of the specification.", status.steps
    yield "commits", "Batches of steps that were committed.", status.batches
    yield "turned_away", "Connections turned away, at the door or for what came on them.", status.counts.turned_away
    yield "full_disks", "Batches without effect because the disk was full.", status.counts.full_disks


def buckets(waits: Waits) -> list[tuple[str, float]]:
    """Waiting times as Prometheus has them: each bucket with all below it."""
    bounds = [*(f"{bound:g}" for bound in BOUNDS_SECONDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(waits.buckets)), strict=True))


class Metrics:
    """The port that serves metrics."""

    def __init__(self, address: Address) -> None:
        """Take the port. Raises UserError if it cannot be had."""
        from prometheus_client import CollectorRegistry, make_wsgi_app

        from impl.scrapers import Scrapers

        self._registry = CollectorRegistry()
        try:
            self._server = Scrapers(address, make_wsgi_app(self._registry))
        except OSError as error:
            raise UserError(f"cannot serve metrics on {address}: {reason_of(error)}") from None
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def serve(self, status: Callable[[], Status]) -> None:
        """From now on tell what this says."""
        self._registry.register(Scrape(status))

    def close(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
