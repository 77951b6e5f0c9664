"""Governance as files: kinds, reading with places, whole-model checks, compiled definitions."""

from counterfoil.model.model import Model
from counterfoil.model.read import read

__all__ = ["Model", "read"]
