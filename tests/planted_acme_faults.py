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
    Fault("role of who asks for a credit", POLICIES, "  requesters: [support-agent]\n", "", "test", "credit-that-no-agent-asks-for-is-not-decided"),
    Fault("time to decide about a charge-back", POLICIES, "requesters: [finance-operations]\n  expires: 3d", "requesters: [finance-operations]\n  expires: 30d", "test", "approval-of-a-take-back-expires"),
    Fault("limit of all customers", POLICIES, "per: [customer_id, quarter]", "per: [quarter]", "test", "credits-of-two-customers-count-apart"),
    Fault("too many calls", POLICIES, "throttled: retry", "throttled: park", "test", "call-that-comes-too-fast-is-tried-again"),
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
    Fault("charge-back of nothing", TAKEBACK, "input.amount.minor > 0 && ", "", "test", "take-back-of-nothing-is-refused"),
    Fault("one charge-back for a credit", TAKEBACK, "    once: input.credit_id\n", "", "test", "credit-is-taken-back-once"),
    Fault("currency of a charge-back", TAKEBACK, "input.amount.currency == credit.total.currency\n      && ", "", "test", "take-back-in-another-currency-is-refused"),
    Fault("first change of a customer", "workflows/customer-sync.yaml", "where: event.data.revision > 0", "where: event.data.revision >= 0", "test", "each-change-of-a-customer-has-a-run"),
    Fault("void of another invoice", INVOICE, "    where: event.data.invoice_id == start.data.invoice_id\n", "", "test", "void-of-another-invoice-stops-no-review"),
    Fault("check of a total of nothing", INVOICE, " && event.data.total.minor > 0", "", "test", "german-invoice-of-nothing-with-taxes-is-a-case"),
    Fault("invoice of another customer", CREDIT, " && inv.customer_id == event.data.customer_id", "", "test", "credit-on-an-invoice-of-another-customer-is-refused"),
    Fault("undo after an expiry", CREDIT, "      expired:\n        - choose: [{when: \"run.state in ['billed', 'posted', 'applied', 'told']\", then: [undo]}]\n", "      expired:\n", "test", "credit-whose-second-approval-expires-is-undone"),
    Fault("undo after a rejection", CREDIT, "      rejected:\n        - choose: [{when: \"run.state in ['billed', 'posted', 'applied', 'told']\", then: [undo]}]\n", "      rejected:\n", "prove", "half-undone"),
    Fault("invoice that changes during the approval", CREDIT, "inv: {head: invoice, of: event.data.invoice_id, recheck: each_effect}", "inv: {head: invoice, of: event.data.invoice_id}", "test", "credit-over-what-is-open-by-then-is-refused"),
    Fault("document date of a credit", CREDIT, "dates: {document: =memo.issued_on, posting: credits-posting, revenue:", "dates: {document: =event.data.incident_on, posting: credits-posting, revenue:", "test", "to-erp-credit-memo"),
    Fault("date of an application", CREDIT, "dates: {document: =memo.issued_on, posting: credits-posting}", "dates: {document: =event.data.incident_on, posting: credits-posting}", "test", "to-erp-credit-memo"),
    Fault("document date of an invoice", INVOICE, "dates: {document: =event.data.document_date, posting", "dates: {document: \"=date(run.started, entity.zone)\", posting", "test", "invoice-in-a-closed-period-takes-the-first-open-day"),
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
    Fault("Link of an issued credit memo", TO_BILLING, "  links: {credit: =result.id}\n", "", "test", "credit-note-that-lost-our-id-is-known-by-what-was-issued"),
    Fault("Link of a credit note", BILLING, "  links: {credit: =n.id}\n", "", "test", "credit-note-that-lost-our-id-is-known-by-its-former-delivery"),
    Fault("Link of a posted invoice", TO_ERP, "  links: {invoice: =string(result.id)}\n", "", "test", "credit-is-applied-to-the-invoice-that-was-posted"),
    Fault("Link of a posted credit", TO_ERP, "  links: {credit: =string(result.id)}\n", "", "test", "to-erp-credit-memo"),
    Fault("Link of a customer", TO_ERP, "  links: {customer: =string(result.id)}\n", "", "test", "invoice-waits-for-its-customer"),
    Fault("sign of the total that the ERP answers", TO_ERP, "total: =-money(result.total, result.currency)", "total: =money(result.total, result.currency)", "test", "total-of-a-posted-credit-is-positive"),
    Fault("sign of a tax below zero", BILLING, "amount: =-minor(t.amount, c)", "amount: =minor(t.amount, c)", "test", "taxes-of-an-invoice-below-zero-are-positive"),
    Fault("sign of a base below zero", BILLING, "base: \"=-minor(t.taxable_amount", "base: \"=minor(t.taxable_amount", "test", "taxes-of-an-invoice-below-zero-are-positive"),
    Fault("open amount of an invoice", BILLING, "      total: =minor(i.total, c)\n      open: =minor(i.amount_remaining, c)", "      total: =minor(i.total, c)\n      open: =minor(i.total, c)", "test", "invoice-that-a-balance-partly-paid-is-open-over-the-rest"),
    Fault("status of a credit note", BILLING, "    number: =n.number\n    status: =n.status", "    number: =n.number\n    status: issued", "test", "credit-note-that-billing-voids-owes-nothing"),
    Fault("treatment of a credit note", BILLING, "first(t.treatment, 'standard_rated')", "'standard_rated'", "test", "credit-note-of-an-exempt-customer-has-the-code-of-exemption"),
    Fault("requester of a credit", DESK, "    incident_on: =date(first(body.incident_on, string(date(received))))\n    requested_by: =body.creator", "    incident_on: =date(first(body.incident_on, string(date(received))))\n    requested_by: support-agent", "test", "requester-of-a-credit-is-who-opened-the-ticket"),
    Fault("currency in the identity of a request", DESK, "body.credit_amount, body.credit_currency, body.invoice_ref", "body.credit_amount, body.invoice_ref", "test", "request-in-another-currency-is-another-request"),
    Fault("invoice in the identity of a request", DESK, "body.credit_currency, body.invoice_ref, body.account_ref", "body.credit_currency, body.account_ref", "test", "request-on-another-invoice-is-another-request"),
    Fault("customer in the identity of a request", DESK, "body.invoice_ref, body.account_ref]", "body.invoice_ref]", "test", "request-of-another-customer-is-another-request"),
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
    Fault("account of a missed service level", "tables/gl_credit.csv", "sla,4800", "sla,4809", "test", "credit-for-a-missed-service-level-has-its-account"),
    Fault("rate of the euro, too high", "tables/fx.csv", "EUR/USD,1.08", "EUR/USD,1.5", "test", "credit-in-euros-under-100-dollars-is-automatic"),
    Fault("rate of the dollar", "tables/fx.csv", "USD/EUR,0.93", "USD/EUR,1.5", "test", "german-credit-in-dollars-is-judged-in-euro"),
    Fault("revenue account of Texas", "tables/revenue_accounts.csv", "subscription,US-TX,4000", "subscription,US-TX,4009", "test", "subscription-in-texas"),
    Fault("paid invoice", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs:\n      net: event.data.net\n", "    stands: event.data.erp_state in ['posted']\n    legs:\n      net: event.data.net\n", "test", "paid-invoice-is-posted"),
    Fault("paid reversal of an invoice", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    reverses: event.data.reverses\n", "    stands: event.data.erp_state in ['posted']\n    reverses: event.data.reverses\n", "test", "paid-credit-memo-takes-an-invoice-back"),
    Fault("paid credit", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs:\n      gross: event.data.total\n", "    stands: event.data.erp_state in ['posted']\n    legs:\n      gross: event.data.total\n", "test", "paid-credit-is-posted"),
    Fault("paid debit memo", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs: {gross: event.data.total}\n", "    stands: event.data.erp_state in ['posted']\n    legs: {gross: event.data.total}\n", "test", "paid-debit-memo-is-posted"),
    Fault("every state of an invoice", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs:\n      net: event.data.net\n", "    legs:\n      net: event.data.net\n", "test", "invoice-that-is-a-draft-in-the-erp-is-not-posted"),
    Fault("every state of a reversal", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    reverses: event.data.reverses\n", "    reverses: event.data.reverses\n", "test", "credit-memo-that-is-a-draft-takes-no-invoice-back"),
    Fault("every state of a credit", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs:\n      gross: event.data.total\n", "    legs:\n      gross: event.data.total\n", "test", "credit-that-is-a-draft-in-the-erp-is-not-posted"),
    Fault("every state of a debit memo", MATCH, "    stands: event.data.erp_state in ['posted', 'paid']\n    legs: {gross: event.data.total}\n", "    legs: {gross: event.data.total}\n", "test", "debit-memo-that-is-a-draft-in-the-erp-is-not-posted"),
    Fault("debit memo as an invoice", MATCH, "    when: \"!event.data.invoice_id.endsWith('/undo')\"\n", "", "test", "debit-memo-is-no-invoice-and-an-invoice-no-debit-memo"),
    Fault("invoice as a debit memo", MATCH, "    when: event.data.invoice_id.endsWith('/undo')\n", "", "test", "debit-memo-is-no-invoice-and-an-invoice-no-debit-memo"),
    Fault("tolerance of the taxes of an invoice", MATCH, "  taxes: {per: code}\n  functional_difference: {tolerance: 5}   #", "  taxes: {per: code, tolerance: 100}\n  functional_difference: {tolerance: 5}   #", "test", "base-of-a-tax-agrees-to-the-cent"),
    Fault("tolerance of the taxes of a credit", MATCH, "  taxes: {per: code}\n  functional_difference: {tolerance: 5}\n", "  taxes: {per: code, tolerance: 100}\n  functional_difference: {tolerance: 5}\n", "test", "tax-of-a-credit-agrees-to-the-cent"),
    Fault("tolerance of the net", MATCH, "  net: {}\n", "  net: {tolerance: 1}\n", "test", "net-agrees-to-the-cent"),
    Fault("tolerance of the tax", MATCH, "  tax: {}\n", "  tax: {tolerance: 100}\n", "test", "tax-agrees-to-the-cent"),
    Fault("cap of invoices", MATCH, "cap: {USD: 50000, EUR: 50000}", "cap: {USD: 500000, EUR: 500000}", "test", "differences-of-invoices-over-500-dollars-in-a-month-are-not-accepted"),
    Fault("cap of credits", MATCH, "cap: {USD: 50000, EUR: 50000}\n---\nkind: reconciliation\nname: debit", "cap: {USD: 500000, EUR: 500000}\n---\nkind: reconciliation\nname: debit", "test", "differences-of-credits-over-500-dollars-in-a-month-are-not-accepted"),
    Fault("tolerance of the rate of a credit", MATCH, "  rate_difference: {tolerance: 100}\n", "  rate_difference: {tolerance: 1000}\n", "test", "german-credit-at-a-rate-over-one-percent-off-is-a-difference"),
    Fault("age of the rate of a credit", MATCH, "  rate_age: {tolerance: 31}\nassert", "  rate_age: {tolerance: 310}\nassert", "test", "german-credit-at-the-rate-of-another-month-is-a-difference"),
    Fault("own amount of a credit", MATCH, "  taxes: {per: code}\n  functional_difference: {tolerance: 5}\n", "  taxes: {per: code}\n  functional_difference: {tolerance: 500}\n", "test", "german-credit-over-five-cents-off-its-own-rate-is-a-difference"),
    Fault("own amount of an invoice", MATCH, "functional_difference: {tolerance: 5}   #", "functional_difference: {tolerance: 50}   #", "test", "german-invoice-over-five-cents-off-its-own-rate-is-a-difference"),
    Fault("day by which a debit memo is due", MATCH, "    legs: {gross: input.amount}\n    due: +2d", "    legs: {gross: input.amount}\n    due: +20d", "test", "debit-memo-that-the-erp-does-not-show-is-missing-after-two-days"),
    Fault("who accepts a difference of a credit", MATCH, "waive: accepted-difference\npair: paired-by-hand\ncap: {USD: 50000, EUR: 50000}\n---\nkind: reconciliation\nname: debit", "waive: paired-by-hand\npair: paired-by-hand\ncap: {USD: 50000, EUR: 50000}\n---\nkind: reconciliation\nname: debit", "test", "difference-of-a-credit-over-one-dollar-needs-the-controller"),
    Fault("who accepts a difference of a debit memo", MATCH, "    legs: {gross: event.data.total}\n    effective: event.data.posting_date\nwaive: accepted-difference\n", "    legs: {gross: event.data.total}\n    effective: event.data.posting_date\nwaive: paired-by-hand\n", "test", "difference-of-a-debit-memo-over-one-dollar-needs-the-controller"),
    Fault("grace of a credit that nobody issued", MATCH, "unmatched: {grace: +1d}\nwaive: accepted-difference\npair: paired-by-hand\ncap: {USD: 50000, EUR: 50000}\n---\nkind: reconciliation\nname: debit", "unmatched: {grace: +10d}\nwaive: accepted-difference\npair: paired-by-hand\ncap: {USD: 50000, EUR: 50000}\n---\nkind: reconciliation\nname: debit", "test", "credit-that-nobody-issued-is-a-case-after-a-day"),
    Fault("currency of German charge-backs", "overlays/acme-de.yaml", "      approval: {currency: EUR}\n  - kind: policy\n    name: accepted", "      approval: {currency: USD}\n  - kind: policy\n    name: accepted", "test", "german-take-back-under-100-euro-is-automatic"),
]  # fmt: skip
