"""Context of the engine: look-ups, active and pinned Releases, use of deprecated versions."""
