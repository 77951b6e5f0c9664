"""Faults for the governance of Acme, one for each rule, and what finds each of them.

A fault is one replaced text in one file. It is found by `test` (the name of a test that fails), by `check` (the rule of a
finding) or by `prove` (the invariant that breaks).
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Fault(NamedTuple):
    """One fault: `old` becomes `new` in `file`; `finder` finds it, under this name."""

    rule: str
    file: str
    old: str
    new: str
    finder: Literal["test", "check", "prove"]
    name: str


POLICIES, INVOICE = "policies/policies.yaml", "workflows/invoice-to-erp.yaml"
CREDIT, TAKEBACK = "workflows/support-credit-to-erp.yaml", "workflows/credit-takeback.yaml"
BILLING, ERP, DESK = "mappings/from-billing.yaml", "mappings/from-erp.yaml", "mappings/from-support.yaml"
TO_BILLING, TO_ERP, TO_DESK = "mappings/to-billing.yaml", "mappings/to-erp.yaml", "mappings/to-support.yaml"
MATCH = "reconciliations.yaml"

FAULTS = [
    # Policies
    Fault("tier of the support lead", POLICIES, "{up_to: 1000, roles: [support-lead]}", "{up_to: 1001, roles: [support-lead]}", "test", "credit-over-1000-needs-finance"),
    Fault("automatic tier", POLICIES, "requester: event.data.requested_by\n  expires: 3d\n  negative: false\n  matrix:\n    - {up_to: 100,", "requester: event.data.requested_by\n  expires: 3d\n  negative: false\n  matrix:\n    - {up_to: 500,", "test", "credit-over-100-needs-the-support-lead"),
    Fault("tier of the controller", POLICIES, "{up_to: 50000, roles: [controller]}", "{up_to: 500000, roles: [controller]}", "test", "credit-over-50000-needs-the-cfo"),
    Fault("gap in the matrix", POLICIES, "    - {up_to: 50000, roles: [controller]}\n    - {roles: [cfo]}", "    - {up_to: 50000, roles: [controller]}", "check", "approval-matrix"),
    Fault("requester among the approvers", POLICIES, "requesters: [support-agent]", "requesters: [support-lead]", "check", "segregation"),
    Fault("review of invoices", POLICIES, "{up_to: 25000, automatic: true}", "{up_to: 250000, automatic: true}", "test", "invoice-over-25000-is-looked-at"),
    Fault("key of the limit", POLICIES, "per: [customer_id, quarter]", "per: [invoice_id, quarter]", "test", "split-credits-count-together"),
    Fault("posting date of invoices", POLICIES, "{rule: first_open, periods: period, document: keep}", "{rule: current, periods: period, document: keep}", "test", "invoice-in-a-closed-period-takes-the-first-open-day"),
    Fault("posting date of credits", POLICIES, "rule: hold_for_reopen", "rule: first_open", "test", "credit-in-a-closed-period-waits"),
    Fault("tier of charge-backs", POLICIES, "    - {up_to: 100, automatic: true}\n    - {roles: [controller]}", "    - {up_to: 1000, automatic: true}\n    - {roles: [controller]}", "test", "take-back-over-100-needs-the-controller"),
    Fault("tolerated difference", POLICIES, "{up_to: 1, automatic: true}", "{up_to: 100, automatic: true}", "test", "difference-over-one-dollar-needs-the-controller"),
    Fault("missing reaction", POLICIES, "  throttled: retry\n", "", "check", "failure-incomplete"),
    Fault("refusal passed over", POLICIES, "  invalid: park\n", "  invalid: continue\n", "test", "refusal-asks-a-person"),
    # Workflows
    Fault("check of the sum", INVOICE, "event.data.net + event.data.tax == event.data.total && ", "", "test", "invoice-whose-tax-does-not-add-up-is-a-case"),
    Fault("invoice over nothing", INVOICE, "event.data.total.minor == 0", "event.data.total.minor == 1", "test", "invoice-over-nothing-is-not-posted"),
    Fault("total not covered", INVOICE, "      - event.data.total\n", "", "check", "covers-incomplete"),
    Fault("no wait for the ERP", INVOICE, "  - wait: {foils: all, until: +2d}\n    outcomes: {timeout: park}\n    becomes: reconciled", "", "prove", "foil-unmatched"),
    Fault("limit of the amount", CREDIT, "&& amount <= (inv.status == 'paid' ? inv.total : inv.open)", "&& amount <= inv.total", "test", "credit-over-the-open-amount-is-refused"),
    Fault("one credit for an incident", CREDIT, "    once: event.data.incident_id\n", "", "test", "second-credit-for-one-incident-is-refused"),
    Fault("currency of a credit", CREDIT, "inv.currency == amount.currency && ", "", "test", "credit-in-another-currency-is-refused"),
    Fault("credit on a draft", CREDIT, "inv.status != 'draft' && ", "", "test", "credit-on-a-draft-is-refused"),
    Fault("undo after a refusal", CREDIT, "outcomes: {period_closed: queue, invalid: park, refused: undo}", "outcomes: {period_closed: queue, invalid: park, refused: {stop: refused}}", "prove", "half-undone"),
    Fault("rejected credit goes on", CREDIT, "        - {pattern: tell-and-stop, with: {message: The credit was not approved., state: rejected}}\n", "", "prove", "unapproved"),
    Fault("application", CREDIT, "when: open_part.minor > 0", "when: paid_part.minor > 0", "test", "credit-is-granted-posted-applied-and-told"),
    Fault("more taken back than granted", TAKEBACK, " && input.amount <= credit.total", "", "test", "more-than-the-credit-is-not-taken-back"),
    Fault("customer of a change", "workflows/customer-sync.yaml", "name: =c.name", "name: =event.data.customer_id", "test", "each-change-of-a-customer-has-a-run"),
    Fault("Case of a negative invoice", "workflows/negative-invoice.yaml", "event.data.origin == 'negative_invoice'", "event.data.origin != 'negative_invoice'", "test", "billing-invoice-below-zero-is-a-credit"),
    # Mappings
    Fault("discount of a line", BILLING, "l.amount - sum(l.discount_amounts.map(d, d.amount)) - ", "l.amount - ", "test", "billing-invoice-finalized-with-discount-and-tax"),
    Fault("sign of a negative invoice", BILLING, "total: =-minor(i.total, c)", "total: =minor(i.total, c)", "test", "billing-invoice-below-zero-is-a-credit"),
    Fault("paid by credit", BILLING, "when: i.amount_paid > 0", "when: i.amount_paid >= 0", "test", "billing-invoice-paid-by-credit-is-no-payment"),
    Fault("id of a credit note", BILLING, "has(n.metadata.credit_id) ? n.metadata.credit_id : canon('credit', n.id)", "canon('invoice', n.invoice)", "test", "billing-credit-note-carries-our-id"),
    Fault("sign of the ERP's credits", ERP, "total: =-money(body.total, body.currency)", "total: =money(body.total, body.currency)", "test", "erp-credit-posted"),
    Fault("open amount of the ERP", ERP, "erp_open: =money(body.amount_to_pay, body.currency)", "erp_open: =money(body.applied, body.currency)", "test", "erp-invoice-posted"),
    Fault("state of a period", ERP, "body.state == 'open' ? 'period.opened.v1' : 'period.closed.v1'", "body.state == 'open' ? 'period.closed.v1' : 'period.opened.v1'", "test", "erp-period-opens-and-closes"),
    Fault("identity of a request", DESK, "[body.id, body.credit_amount, ", "[body.id, string(body.revision), body.credit_amount, ", "test", "support-credit-requested-twice-is-one-request"),
    Fault("field that nobody declares", DESK, "title: =first(body.title, 'untitled')", "titel: =first(body.title, 'untitled')", "check", "event-mismatch"),
    Fault("amount to billing", TO_BILLING, "amount: =input.amount.minor\n  currency: =input.amount.currency\n  credit_amount", "amount: =input.to_open.minor\n  currency: =input.amount.currency\n  credit_amount", "test", "to-billing-credit-memo"),
    Fault("account of a line", TO_ERP, "l.revenue_class, l.tax_code, dates.document)", "'usage', l.tax_code, dates.document)", "test", "billing-invoice-finalized-with-discount-and-tax"),
    Fault("tax code of a line without tax", TO_ERP, "l.zero_rated ? [{'code': l.tax_code}] : []", "l.zero_rated ? [] : []", "test", "reverse-charge-is-a-tax-of-zero-on-the-line"),
    Fault("sign of a credit memo", TO_ERP, "quantity: -1", "quantity: 1", "test", "to-erp-credit-memo"),
    Fault("invoice of an application", TO_ERP, "invoice: \"=int(xref('invoice', input.invoice_id))\"", "invoice: \"=int(xref('credit', input.credit_id))\"", "test", "to-erp-credit-memo"),
    Fault("comparison of the total", TO_ERP, "  links: {invoice: =string(result.id)}\n  compare: [total]", "  links: {invoice: =string(result.id)}", "test", "to-erp-invoice-posted-over-another-amount"),
    Fault("state of a ticket", TO_DESK, "status: =input.status", "status: credit-posted", "test", "rejected-credit-is-told"),
    # Accounts and counterfoils
    Fault("tax code of reverse charge", "tables/tax_codes.csv", "19,reverse_charge,2021-01-01,USt0-RC", "19,reverse_charge,2021-01-01,USt0-EXEMPT", "test", "reverse-charge-is-a-tax-of-zero-on-the-line"),
    Fault("way to correct a credit memo", "overlays/acme-de.yaml", "way: document", "way: void", "test", "german-credit-that-the-erp-refuses-is-cancelled-by-a-document"),
    Fault("zone of an invoice", BILLING, ", entity.zone)", ", 'UTC')", "test", "invoice-is-dated-by-the-day-in-germany"),
    Fault("effective date of an invoice", BILLING, "first(i.effective_at, i.status_transitions.finalized_at)", "first(null, i.status_transitions.finalized_at)", "test", "invoice-is-dated-by-the-day-from-which-it-is-effective"),
    Fault("tax that rounds to zero", TO_ERP, "filter(t, !t.zero_rated)", "filter(t, t.amount.minor != 0)", "test", "tax-that-rounds-to-zero-is-no-zero-rated-sale"),
    Fault("age of a rate", MATCH, "rate_age: {tolerance: 31}", "rate_age: {tolerance: 310}", "test", "invoice-in-dollars-at-the-rate-of-another-month-is-a-difference"),
    Fault("type of a rate", MATCH, " || event.data.exchange_rate_type != 'spot'", "", "test", "invoice-in-dollars-at-an-average-rate-is-a-difference"),
    Fault("reverse charge at the reduced rate", "tables/tax_codes.csv", "DE,7,reverse_charge,2021-01-01,USt0-RC", "DE,7,reverse_charge,2021-01-01,USt0-EXEMPT", "test", "german-reverse-charge-at-the-reduced-rate"),
    Fault("exemption in Texas", "tables/tax_codes.csv", "US-TX,8.25,customer_exempt,2020-01-01,EXEMPT", "US-TX,8.25,customer_exempt,2020-01-01,US-TX", "test", "exempt-customer-in-texas"),
    Fault("tax account of New York", "tables/tax_accounts.csv", "US-NY,2210", "US-NY,2220", "test", "enterprise-plan-in-new-york"),
    Fault("class of a plan", "tables/revenue_classes.csv", "cloud,enterprise,enterprise", "cloud,enterprise,subscription", "test", "enterprise-plan-in-new-york"),
    Fault("class of usage", "tables/revenue_classes.csv", "api-calls,metered,usage", "api-calls,metered,service", "test", "metered-usage-in-california"),
    Fault("revenue account of usage", "tables/revenue_accounts.csv", "usage,US-CA,4010", "usage,US-CA,4000", "test", "metered-usage-in-california"),
    Fault("revenue account of a German plan", "overlays/revenue_accounts-de.csv", "enterprise,USt19,8401", "enterprise,USt19,8400", "test", "german-enterprise-plan"),
    Fault("account of German goodwill", "overlays/gl_credit-de.csv", "goodwill,8720", "goodwill,8400", "test", "german-goodwill-credit"),
    Fault("tolerance of a rate", MATCH, "rate_difference: {tolerance: 100}       #", "rate_difference: {tolerance: 250}       #", "test", "rate-over-one-percent-off-the-finance-table-is-a-difference"),
    Fault("tolerance of VAT", MATCH, "vat_difference: {tolerance: 5}", "vat_difference: {tolerance: 100}", "test", "vat-over-five-cents-off-is-a-difference"),
    Fault("state of a posted invoice", MATCH, "stands: event.data.erp_state in ['posted', 'paid']", "stands: event.data.erp_state in ['posted', 'paid', 'draft']", "test", "invoice-that-is-a-draft-in-the-erp-is-not-posted"),
    Fault("credit that billing voids", MATCH, "stands: event.data.status != 'void'", "stands: event.data.status != 'voided'", "test", "credit-that-billing-voids-needs-no-posting"),
    Fault("German posting of credits", "overlays/acme-de.yaml", "posting_date: {rule: first_open, periods: period, document: keep}", "posting_date: {rule: first_open, periods: period, document: posting}", "test", "german-credit-in-a-closed-german-period-takes-the-first-open-day"),
    Fault("German tier", "overlays/acme-de.yaml", "- {up_to: 1000, roles: [support-lead]}", "- {up_to: 5000, roles: [support-lead]}", "test", "german-credit-over-1000-needs-finance"),
    Fault("German controller", "overlays/acme-de.yaml", "- {up_to: 50000, roles: [controller]}", "- {up_to: 50000, roles: [support-lead]}", "test", "german-credit-over-10000-needs-the-controller"),
    Fault("German differences", "overlays/acme-de.yaml", "name: accepted-difference\n    loosens: the same figures in euro\n    set:\n      approval: {currency: EUR}", "name: accepted-difference\n    loosens: the same figures in euro\n    set:\n      approval: {currency: USD}", "test", "difference-of-one-euro-is-accepted-at-once"),
    Fault("account of a tax", "tables/tax_accounts.csv", "USt7,1771", "USt7,1776", "test", "reduced-vat-has-its-own-code-and-accounts"),
    Fault("revenue account of the German company", "overlays/revenue_accounts-de.csv", "subscription,USt0-ZERO,8120", "subscription,USt0-ZERO,8125", "test", "zero-rated-export-has-its-own-code"),
    Fault("taxes of a counterfoil", MATCH, "      taxes: event.data.taxes\n      functional_difference: \"event", "      functional_difference: \"event", "check", "foil-form"),
    Fault("rate of VAT", "tables/vat_rates.csv", "0.9233610342,2026-03-01", "0.9433610342,2026-03-01", "test", "invoice-in-dollars-matches-at-the-rate-of-the-finance-table"),
    Fault("account of a credit", "tables/gl_credit.csv", "goodwill,4800", "goodwill,4000", "test", "to-erp-credit-memo"),
    Fault(
        "rate of a month",
        "tables/month_rates.csv",
        "0.9233610342,2026-03-01",
        "0.9433610342,2026-03-01",
        "test",
        "invoice-in-dollars-matches-at-the-rate-of-the-finance-table",
    ),
    Fault("rate of the euro", "tables/fx.csv", "1.08", "1.05", "test", "credit-in-euros-is-judged-in-dollars"),
    Fault("total of a counterfoil", MATCH, "gross: event.data.total\n      taxes: event.data.taxes\n      functional_difference: \"event", "gross: event.data.net\n      taxes: event.data.taxes\n      functional_difference: \"event", "test", "invoice-is-posted-and-reconciled"),
    Fault("voided invoice", MATCH, "document: event.data.invoice_id\n    stands: false", "document: event.data.invoice_id\n    stands: true", "test", "voided-invoice-needs-no-posting"),
    Fault("event that nobody declares", MATCH, "event: erp.invoice_posted.v1\n    document: event.data.erp_number", "event: erp.invoice_paid.v1\n    document: event.data.erp_number", "check", "unknown-reference"),
]  # fmt: skip
