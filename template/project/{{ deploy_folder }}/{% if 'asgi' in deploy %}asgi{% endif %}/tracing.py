# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Traces of OpenTelemetry, where its own variables of the environment ask for them."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING, Any

from tools.project import MODEL_NAME, ProjectError, in_project

if TYPE_CHECKING:  # they would bring torch into the server's own process
    from deploy.asgi.batches import Job
    from deploy.asgi.web import Application

NEEDED = ("opentelemetry.instrumentation.asgi", "opentelemetry.exporter.otlp.proto.http")
PROTOCOL = "http/protobuf"
UNTRACED = "/ping$,/health/"  # who asks so every few seconds, and for nothing


def wants_traces() -> bool:
    """Tell whether the environment names where traces go.

    Raises:
        ProjectError: It does, and they cannot be sent so, or packages for that are missing.
    """
    variables = os.environ.get
    endpoint = variables("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or variables(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    exporter = variables("OTEL_TRACES_EXPORTER") or "otlp"
    is_off = exporter == "none" or variables("OTEL_SDK_DISABLED", "").lower() == "true"
    if not endpoint or is_off:
        return False
    if exporter != "otlp":
        raise ProjectError(f"OTEL_TRACES_EXPORTER={exporter}: traces go by otlp alone; unset it")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := variables(name):
            if protocol != PROTOCOL:
                raise ProjectError(f"{name}={protocol}: traces go by {PROTOCOL}; set it to that")
            break
    for name in NEEDED:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # a package that it lies in
            found = None
        if found is None:
            command = in_project("pip install -r deploy/asgi/requirements-traces.txt")
            raise ProjectError(
                f"OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and there is no package "
                f"{name.replace('.', '-')}; install it with: {command}\n"
                f"Or serve without traces: OTEL_SDK_DISABLED=true"
            )
    return True


class Traces:
    """Sends what a worker does as traces; does nothing if the environment does not ask for that."""

    def __init__(self) -> None:
        self._provider: Any = make_provider() if wants_traces() else None

    def tracing(self, app: Application) -> Application:
        """Return an application each of whose requests is a span, in the client's trace."""
        if self._provider is None:
            return app
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        traced: Any = OpenTelemetryMiddleware(
            app,
            excluded_urls=UNTRACED,
            tracer_provider=self._provider,
            exclude_spans=["receive", "send"],
        )
        return traced

    def record(self, job: Job) -> None:
        """Add to the request's span how long it waited for a batch, and how long that took."""
        if self._provider is None:
            return
        offset, now = time.time() - time.monotonic(), time.monotonic()
        tracer = self._provider.get_tracer(__name__)
        for name, start, end in (("wait", job.came, job.began), ("batch", job.began, now)):
            span = tracer.start_span(name, start_time=int(1e9 * (start + offset)))
            span.end(int(1e9 * (end + offset)))

    def close(self) -> None:
        """Send what was not sent yet."""
        if self._provider is not None:
            self._provider.shutdown()


def make_provider() -> Any:
    """Return what makes spans; the SDK reads where they go, and how many, from the environment."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = OTELResourceDetector().detect().attributes  # OTEL_SERVICE_NAME, for one
    resource = Resource.create({"service.name": MODEL_NAME, **named})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
