"""Every interleaving of a workflow under a number of faults, explored with the real `decide`."""

from counterfoil.prove.explore import Bounds, Proof, findings, prove, proven

__all__ = ["Bounds", "Proof", "findings", "prove", "proven"]
