"""The path of a change: plan, approvals, apply and migrate."""
