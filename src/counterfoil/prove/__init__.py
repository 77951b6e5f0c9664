"""Exploration of every interleaving of a workflow under a number of faults, with the real `decide`."""

from counterfoil.prove.explore import Proof, ProofLimits, findings, prove, proven

__all__ = ["Proof", "ProofLimits", "findings", "prove", "proven"]
