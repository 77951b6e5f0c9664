"""Reasons of Cases about work that makes no progress, each with its title and next action; `core.case_reasons` has the rest."""

from __future__ import annotations

STALL_TEXTS = (
    (
        "stuck_run_not_turned",
        "Runs are due but no worker advances them",
        "Read in the workers' logs why turns of these Runs fail, or start workers",
    ),
    (
        "stuck_lease_expired",
        "Workers did not finish their Runs in time",
        "Check the workers that took these Runs",
    ),
    (
        "stuck_run_lost",
        "Runs are active but nothing will wake them",
        "Open these Runs and decide how they continue. Report this as a bug",
    ),
    (
        "stuck_effect_planned",
        "Planned calls are not sent",
        "Check that the system is reachable and that other work does not use up its call limit",
    ),
    (
        "stuck_effect_sending",
        "Calls are past their timeout without an outcome",
        "Check that workers run: any worker looks up an overdue call",
    ),
    (
        "stuck_effect_unknown",
        "Calls have had no known outcome for too long",
        "Check in the system whether these calls were done",
    ),
    (
        "stuck_todo_waiting",
        "Deliveries wait too long for admission",
        "Check that workers run and that the systems needed for admission are reachable",
    ),
    (
        "stuck_todo_parked",
        "Deliveries are held without an open Case",
        "Hand these deliveries in again. Report this as a bug",
    ),
    (
        "stuck_case_overdue",
        "Cases are past their deadline",
        "Resolve these Cases, or ask their owner to resolve them",
    ),
    (
        "stuck_foil_past_due",
        "Counterfoils are past due but not marked as broken",
        "Check that workers run: the next round marks overdue counterfoils",
    ),
    (
        "stuck_serial_held",
        "A finished Run still holds serial keys",
        "Report this as a bug: the Run that holds these serial keys has ended",
    ),
    (
        "stuck_serial_stranded",
        "Runs wait for a serial key that no Run holds",
        "Report this as a bug: these serial keys are free, but no waiting Run gets them",
    ),
    (
        "stuck_leaf_pending",
        "Audit leaves are not sealed",
        "Check that workers run: they seal leaves every second",
    ),
    (
        "stuck_sweep_waiting",
        "Sweeps are not read",
        "Check that workers run and are connected to these systems",
    ),
)
