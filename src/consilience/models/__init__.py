"""Models that answer queries: over HTTP, or simulated with a known truth."""

from __future__ import annotations

from consilience.models.base import Answer, Model, Request

__all__ = ["Answer", "Model", "Request"]
