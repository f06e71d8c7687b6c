"""`kappa metrics`: what `kappa status` says, as numbers for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, show_error
from kappa.cli.stopping import stopped_like_ctrl_c
from kappa.cli.verb import Place, free_verb
from kappa.control.metrics import METRICS, Measure, measure
from kappa.errors import KappaError, ProjectError
from kappa.extras import needs_extra

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

_PORT = 9464


class _Metrics(msgspec.Struct, frozen=True):
    """All numbers, for `--json`."""

    metrics: list[Measure]


@free_verb
@click.option("--serve", is_flag=True, help="Answer Prometheus over HTTP until Ctrl-C, reading anew each time.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --serve: the address to listen on.")
@click.option("--port", type=click.IntRange(1, 65_535), default=_PORT, show_default=True, help="With --serve.")
def metrics(place: Place, out: Output, *, serve: bool, host: str, port: int) -> None:
    """Print how the project is doing as numbers, in the text format of Prometheus.

    They are those of `kappa status`. With --serve they are at http://127.0.0.1:9464/metrics, for Prometheus to fetch:
    nobody else can reach them unless --host says so. This reads what anybody may read, beside `kappa up`, and needs
    the extra `metrics`.

    Examples:
      kappa metrics
      kappa metrics --serve --port 9464
    """

    def read() -> list[Measure]:
        with App(place.settings()) as app:
            return list(measure(app.status()))

    if serve:
        place.settings()  # if there is no project here, that is said now, not to whoever asks for numbers
        _serve(read, out, host, port)
    else:
        now = _Metrics(read())
        out.show(now, lambda: out.raw(_text(now.metrics)))


def _text(measures: Iterable[Measure]) -> str:
    with needs_extra("metrics"):
        from prometheus_client import generate_latest  # noqa: PLC0415 - an optional extra
    return generate_latest(_registry(lambda: list(measures))).decode()


def _serve(read: Callable[[], list[Measure]], out: Output, host: str, port: int) -> None:
    with needs_extra("metrics"):
        from prometheus_client import start_http_server  # noqa: PLC0415 - an optional extra
    reading = threading.Lock()

    def answer() -> list[Measure]:
        """Read for one request at a time, and tell the one who runs this what could not be read."""
        with reading:
            try:
                return read()
            except KappaError as error:
                show_error(error)
                return [Measure("kappa_status_readable", 0, {})]

    try:
        server, thread = start_http_server(port, host, registry=_registry(answer))
    except OSError as error:
        raise ProjectError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", next_step="choose another --port or --host"
        ) from error
    out.note(f"metrics are at http://{host}:{port}/metrics until Ctrl-C")
    try:
        with stopped_like_ctrl_c():
            thread.join()
    except KeyboardInterrupt:
        server.shutdown()
        server.server_close()


def _registry(read: Callable[[], list[Measure]]) -> CollectorRegistry:
    """Return what asks for all numbers whenever somebody asks it."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an optional extra, which the caller has imported
    from prometheus_client.registry import Collector  # noqa: PLC0415

    class Reading(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            return _families(read())

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Reading())
    return registry


def _families(measures: list[Measure]) -> Iterator[GaugeMetricFamily]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    for name, meaning in METRICS.items():
        found = [each for each in measures if each.metric == name]
        if found:
            family = GaugeMetricFamily(name, meaning, labels=list(found[0].labels))
            for each in found:
                family.add_metric(list(each.labels.values()), each.value)
            yield family
