"""OpenTelemetry hooks with exporters in memory."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from calls_in_progress_async.opentelemetry import OpenTelemetry


@define(eq=False)
class Recording:
    """Spans and metrics of one test."""

    exporter: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(factory=InMemoryMetricReader)
    tracers: TracerProvider = field(factory=lambda: TracerProvider(shutdown_on_exit=False))
    meters: MeterProvider = field(init=False)
    hooks: OpenTelemetry = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.hooks = self.more_hooks()

    def more_hooks(self, **settings: Any) -> OpenTelemetry:
        """Make further hooks of the same providers."""
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **settings)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The ended spans, in the order of their starts."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def story(self) -> list[str]:
        """Return the names of the spans, indented by their depth."""
        by_id = {span.context.span_id: span for span in self.spans}

        def depth(span: ReadableSpan) -> int:
            return 0 if span.parent is None else 1 + depth(by_id[span.parent.span_id])

        return [f"{'  ' * depth(span)}{span.name}" for span in self.spans]

    def metrics(self) -> dict[str, Any]:
        """Collect the metrics by name."""
        data = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        assert len({metric.name for metric in found}) == len(found), "a metric is there twice"
        return {metric.name: metric for metric in found}

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Return the points of a metric by the values of their attributes, sorted by attribute."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric else []
        return {tuple(value for _, value in sorted(point.attributes.items())): point for point in points}

    def text(self) -> str:
        """Return everything that an exporter would send, as text."""
        data = self.reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (data.to_json() if data else "")
