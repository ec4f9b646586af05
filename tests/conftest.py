"""What all tests share: properties are tried on the same examples everywhere, so that no run is a lottery."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same-everywhere", derandomize=True, deadline=None)
settings.load_profile("same-everywhere")
