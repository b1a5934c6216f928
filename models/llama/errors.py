"""What goes wrong in a native call; none of it leaves a sequence half changed.

::

    EngineError                 see `models.errors`
    ├── DecodeFailed            llama.cpp could not process a batch
    │   └── ContextFull         the KV cache has no room for it
    ├── EngineTimeout
    │   └── DecodeStopped       the deadline passed, or the asker left
    └── ForgedControl           text became a control token
"""

from __future__ import annotations

from models.errors import EngineError, EngineTimeout


class DecodeFailed(EngineError):
    """llama.cpp could not process a batch."""


class ContextFull(DecodeFailed):
    """The KV cache has no room for the batch."""


class DecodeStopped(EngineTimeout):
    """The deadline passed, or the asker left, in the middle of a batch."""


class ForgedControl(EngineError):
    """Text became a control token in spite of all cuts. Nothing was decoded."""
