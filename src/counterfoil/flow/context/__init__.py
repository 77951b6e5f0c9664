"""What the engine reads while it works: look-ups, the active and pinned Releases, counted use of deprecated versions."""
