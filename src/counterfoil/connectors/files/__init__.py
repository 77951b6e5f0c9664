"""Connector of systems whose books are files in a folder."""

from counterfoil.connectors.files.connector import FilesSystem, connect

__all__ = ["FilesSystem", "connect"]
