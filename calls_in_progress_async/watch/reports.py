"""Reports: tells logs about organizations that begin to fail and recover."""

from __future__ import annotations

import logging

from ..organization import Organization

_logger = logging.getLogger("calls_in_progress_async.watch")


def organization_failed(organization: Organization, error: Exception) -> None:
    """Log the beginning of an outage, without the error's message: a token callable's error may hold anything."""
    cause, status = type(error).__name__, getattr(error, "status", None)
    facts = {"organization": str(organization), "error": cause, "status": status}
    _logger.warning("Polls of %s have begun to fail with %s", organization, cause, extra=facts)


def organization_recovered(organization: Organization, gap: float) -> None:
    """Log the end of an outage; ``gap`` is the seconds between the last two good responses."""
    facts = {"organization": str(organization), "gap": gap}
    _logger.info("Polls of %s succeed again after a gap of %.3g s", organization, gap, extra=facts)
