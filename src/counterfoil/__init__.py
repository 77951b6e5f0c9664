"""Counterfoil: a governed orchestration layer between SaaS platforms and the ERP."""

__version__ = "0.1.0"
