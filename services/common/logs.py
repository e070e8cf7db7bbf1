"""Log lines: readable on a terminal, one JSON object a line elsewhere; never a secret."""

import logging
import sys

import structlog

from services.common.ring import LibraryLines, keep_line


def configure_logs(level: str = "info") -> None:
    """Sends log lines of the process to standard error, and keeps the latest ones to be read over gRPC."""
    _keep_library_lines()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.CallsiteParameterAdder({structlog.processors.CallsiteParameter.PATHNAME}),
            keep_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _keep_library_lines() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, LibraryLines) for handler in root.handlers):
        root.addHandler(LibraryLines(logging.WARNING))
        # Python writes warnings to standard error only as long as nobody handles them.
        output = logging.StreamHandler(sys.stderr)
        output.setLevel(logging.WARNING)
        root.addHandler(output)
