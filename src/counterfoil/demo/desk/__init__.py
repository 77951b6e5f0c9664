"""The demonstration's help desk: a Roundup tracker as a program of its own, with signed callbacks.

`python -m counterfoil.demo.desk prepare` builds the tracker, `serve` runs it. It knows nothing of Counterfoil's
server; all they share is the web address of a hook and a secret.
"""
