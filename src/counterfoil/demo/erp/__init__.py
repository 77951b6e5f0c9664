"""ERP of the demonstration: a real Tryton, prepared and served by separate programs.

`prepare` and `serve` run in separate processes; the server never imports them. The story and the tests act as the
accountant through `client`.
"""
