"""How a figure came to be: every number that is shown, recorded or written has one of these."""

from __future__ import annotations

from typing import Literal

Kind = Literal["computed", "measured", "simulated", "host", "estimated"]
"""computed: exactly, on this host; measured: on a real device; simulated: in an emulator; host: timed on this computer,
which stood in for the device; estimated: by a model."""
