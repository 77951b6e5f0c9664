"""Connectors to outside systems: the contract that each fulfils (`sdk`), shared tools, and a folder per vendor."""
