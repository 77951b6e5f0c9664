"""The demonstration's ERP: a real Tryton, prepared and served by programs of its own.

`prepare` and `serve` run as processes of their own and are never imported by the server; `client` is what the
story and the tests use to play the accountant at the ERP's screen.
"""
