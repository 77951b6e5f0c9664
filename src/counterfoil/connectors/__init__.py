"""Connectors to outside systems: the SDK, the conformance suite, a generic HTTP connector and one folder per vendor."""
