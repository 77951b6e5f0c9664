"""Help desk of the demonstration: a Roundup tracker as a separate program, with signed callbacks.

`python -m counterfoil.demo.desk prepare` builds the tracker, `serve` runs it. It shares only a callback URL and a secret
with Counterfoil's server.
"""
