"""The pages in a real browser: sign-in, both halves of a counterfoil, decisions, and missing permissions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

from counterfoil.core import ids
from tests.companies.web import PASSWORD, Process
from tests.companies.web_matches import RULE, foil_of, item_of
from tests.companies.web_rows import approval_of, run_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
pytestmark = [
    pytest.mark.xdist_group("web"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed on this machine"),
]
PATHS = [
    "/",
    "/runs",
    f"/runs/{run_of('CR-1001')}",
    f"/runs/{run_of('CR-1002')}",
    f"/runs/{run_of('CR-1001')}/graph",
    "/approvals",
    "/cases",
    "/foils",
    f"/foils/{foil_of('INV-9')}",
    f"/foils/{foil_of('INV-10')}",
    f"/foils/{ids.derive('foil', 'CR-1001')}",
    "/unmatched",
    "/reconciliations",
    "/reconciliations/invoice-in-erp",
    "/catalog",
    "/catalog?q=invoice+total",
    "/catalog/event/invoice.finalized.v1",
    "/catalog/object/invoice",
    "/releases",
    "/notices",
    "/notices?state=all",
    "/notices/preferences",
    "/search?q=INV-9",
    "/delegations",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visitor:
    """A person with a browser; collects the errors of its console."""

    def __init__(self, browser: Browser, company: Process, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            base_url=company.url,
        )
        self.page: Page = self.context.new_page()
        self.console_errors: list[str] = []
        self.page.on("console", lambda m: self.console_errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.console_errors.append(str(e)))
        self.page.on("dialog", lambda dialog: dialog.accept())

    def sign_in(self, person: str) -> Page:
        self.page.goto("/sign-in")
        self.page.get_by_label("E-mail").fill(f"{person}@acme.example")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Overview")).to_be_visible()
        return self.page


@pytest.fixture
def visitor(browser: Browser, company: Process) -> Iterator[Visitor]:
    visitor = Visitor(browser, company)
    yield visitor
    visitor.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_every_page_fits_and_is_accessible(
    browser: Browser, company: Process, width: int, scheme: str
) -> None:
    visitor = Visitor(browser, company, width, scheme)
    page = visitor.sign_in("fay")
    wrong: dict[str, list[str]] = {}
    for path in [*PATHS, *rows_of(page)]:
        response = page.goto(path)
        assert response is not None
        assert response.status == 200
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(CUT) == [], path
        assert page.locator("h1").count() == 1, path
        if rules := violations(page, everything=(width, scheme) == (1280, "light")):
            wrong[path] = rules
    assert wrong == {}
    assert visitor.console_errors == []
    visitor.context.close()


LISTS = {
    "/approvals": "/approvals/", "/cases": "/cases/", "/releases": "/releases/", "/foils": "/foils/",
}  # fmt: skip
"""Lists, each with the beginning of the address of a row whose id differs from run to run."""


def rows_of(page: Page) -> list[str]:
    """Return the address of the first row of each list."""
    links = []
    for path, beginning in LISTS.items():
        page.goto(path)
        links.append(page.locator(f"main a[href^='{beginning}']").first.get_attribute("href") or "")
    return links


CUT = """() => [...document.querySelectorAll('table.list')].map(e => e.closest('.scroll'))
  .filter(e => e.scrollWidth > e.clientWidth).map(e => e.querySelector('thead').textContent)"""
"""Returns the lists whose last columns are outside of their frame."""
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""Rules of WCAG 2.2 A and AA, and what axe advises beyond them."""
LOOKS = ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"]
"""Rules whose result depends on the colours or the width; that of the others is the same for each."""


def violations(page: Page, *, everything: bool = True) -> list[str]:
    """Return what axe finds on a page: the rule, the element, and what is wrong with it."""
    rules = {"type": "tag", "values": LEVELS} if everything else {"type": "rule", "values": LOOKS}
    results = Axe().run(page, options={"runOnly": rules})
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]


def test_a_run_shows_both_halves_and_every_system(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/runs?key=CR-1001")
    page.get_by_role("link", name="CR-1001").click()
    foil = page.locator("article.foil")
    expect(foil.get_by_text("Asserted by billing")).to_be_visible()
    expect(foil.get_by_text("Observed in erp")).to_be_visible()
    expect(foil).to_contain_text("matched")
    lanes = page.locator(".timeline .lane").all_inner_texts()
    assert {"support", "billing", "erp", "people", "counterfoil"} <= set(lanes)
    expect(page.get_by_text("account.move,311").first).to_be_visible()
    page.get_by_text("leaves, 0 not sealed yet").click()
    expect(page.get_by_role("columnheader", name="Tree index")).to_be_visible()


def test_an_approver_approves_and_sees_the_result(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/approvals")
    card = page.locator(f"#{approval_of('CR-1007')}")
    expect(card).to_contain_text("INV-1007")
    expect(card.locator(".big")).to_contain_text("310.00")
    card.get_by_label("Comment").fill("seen the incident")
    card.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("Approved")
    page.goto("/approvals?state=granted")
    expect(page.locator(f"#{approval_of('CR-1007')}")).to_contain_text("seen the incident")


def test_a_rejection_needs_a_comment(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/approvals")
    card = page.locator(f"#{approval_of('CR-1003')}")
    card.get_by_role("button", name="Reject").click()
    expect(card.get_by_role("alert")).to_contain_text("Enter a comment")
    expect(card.get_by_label("Comment")).to_have_attribute("aria-invalid", "true")


def test_a_requester_sees_why_they_cannot_approve(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/approvals")
    card = page.locator(f"#{approval_of('CR-1006')}")
    expect(card).to_contain_text("Separation of duties")
    expect(card.get_by_role("button")).to_have_count(0)


def test_another_role_sees_who_decides(visitor: Visitor) -> None:
    page = visitor.sign_in("cory")
    page.goto("/approvals")
    card = page.locator(f"#{approval_of('CR-1003')}")
    expect(card).to_contain_text("Decided by: finance operations")
    expect(card.get_by_role("button")).to_have_count(0)


def test_a_case_is_resolved_with_a_note(visitor: Visitor) -> None:
    page = visitor.sign_in("cory")
    page.goto("/cases")
    cards = page.locator("article.card")
    expect(cards.first).to_contain_text("yours")
    mine = page.locator("#case_unrouted_1")
    mine.get_by_label("Note").fill("the sender was told")
    mine.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("status")).to_contain_text("resolved")
    page.goto("/cases?state=resolved")
    expect(page.locator("#case_unrouted_1")).to_contain_text("the sender was told")


def test_an_unmatched_item_is_paired_and_parted_again(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/")
    page.get_by_role("link", name="Unmatched", exact=True).click()
    card = page.locator(f"#{item_of('BILL/2026/12')}")
    expect(card).to_contain_text("ERP shows BILL/2026/12 over 20.00 USD. No document of Billing accounts")
    choice = card.get_by_label("Answers")
    assert "INV-12: 20.00 USD" in choice.locator("option").nth(1).inner_text()
    assert "likely: the same amount" in choice.locator("option").nth(1).inner_text()
    choice.select_option(foil_of("INV-12"))
    card.get_by_label("Note").fill("the key has a typing error")
    card.get_by_role("button", name="Pair").click()
    expect(page.get_by_role("status")).to_contain_text("Paired")
    expect(card).to_have_count(0)
    page.goto(f"/foils/{foil_of('INV-12')}")
    expect(page.locator("main")).to_contain_text("ERP shows BILL/2026/12 over 20.00 USD, as asserted.")
    expect(page.locator("main")).to_contain_text("Fay Finance paired them")
    page.get_by_label("Note").fill("it was for another invoice")
    page.get_by_role("button", name="End the pair").click()
    expect(page.get_by_role("status")).to_contain_text("The pair has ended")
    expect(page.locator("main")).to_contain_text("ERP does not show it yet")


def test_a_difference_is_explained_and_accepted_by_a_second_person(
    browser: Browser, company: Process
) -> None:
    address = f"/foils/{foil_of('INV-9')}"
    fay, cory = Visitor(browser, company), Visitor(browser, company)
    page = fay.sign_in("fay")
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_have_text("invoice INV-9")
    expect(page.locator("main")).to_contain_text(
        "ERP shows INV-9 over 90.00 USD, 10.00 USD less than asserted."
    )
    page.get_by_label("Accept the difference").fill("freight that billing does not charge")
    page.get_by_role("button", name="Accept the difference").click()
    expect(page.locator("main")).to_contain_text(
        "ERP shows 10.00 USD less than asserted. No one has to post that"
    )
    page.get_by_role("button", name="Yes, accept the difference").click()
    expect(page.get_by_role("status")).to_contain_text("Another person must agree")
    approver = cory.sign_in("cory")
    approver.goto("/approvals")
    card = approver.locator("article", has_text="Accept a difference")
    expect(card).to_contain_text("INV-9 (Billing, 100.00 USD): 10.00 USD less than asserted")
    expect(card).to_contain_text("freight that billing does not charge")
    card.get_by_role("button", name="Approve").click()
    expect(approver.get_by_role("status")).to_contain_text("Approved and done")
    page.goto(address)
    expect(page.locator("main")).to_contain_text("accepted by Fay Finance")
    fay.context.close()
    cory.context.close()


def test_a_checkpoint_is_prepared_by_one_person_and_signed_by_another(
    browser: Browser, company: Process
) -> None:
    first, second = Visitor(browser, company), Visitor(browser, company)
    page = first.sign_in("fay")
    page.goto("/reconciliations")
    page.get_by_role("link", name="invoice in erp").click()
    expect(page.get_by_text("Closing difference").first).to_be_visible()
    page.get_by_role("button", name="Prepare a checkpoint").click()
    expect(page.get_by_role("status")).to_contain_text("Prepared")
    page.goto("/reconciliations/invoice-in-erp")
    page.locator("a[href^='/checkpoints/']").first.click()
    expect(page.get_by_text("another person signs it")).to_be_visible()
    assert page.get_by_role("button", name="Sign", exact=True).count() == 0
    address = page.url
    page = second.sign_in("cory")
    page.goto(address)
    page.get_by_label("Note").fill("agreed")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Signed")
    expect(page.get_by_text("signed by Cory Controller")).to_be_visible()
    assert first.console_errors + second.console_errors == []
    first.context.close()
    second.context.close()


def test_ticked_documents_are_paired_after_the_sums_of_both_sides(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto(f"/reconciliations/{RULE}")
    page.get_by_label("Choose BILL/2026/12").check()
    page.get_by_label("Choose INV-12").check()
    page.get_by_label("Choose INV-10").check()
    page.get_by_label("Pair the ticked documents").fill("one transfer")
    page.get_by_role("button", name="See the sums").click()
    expect(page.get_by_role("alert")).to_contain_text("it pairs one document with one")
    expect(page.get_by_label("Choose BILL/2026/12")).to_be_checked()
    expect(page.get_by_label("Pair the ticked documents")).to_have_value("one transfer")
    page.get_by_label("Choose INV-12").uncheck()
    page.get_by_role("button", name="See the sums").click()
    expect(page.locator("main")).to_contain_text("60.00 USD less 20.00 USD leaves 40.00 USD.")
    page.get_by_role("button", name="Back, change nothing").click()
    expect(page.get_by_label("Choose INV-10")).to_be_checked()
    page.get_by_label("Choose INV-10").uncheck()
    page.get_by_label("Choose INV-12").check()
    page.get_by_role("button", name="See the sums").click()
    expect(page.locator("main")).to_contain_text("leaves 0.00 USD. As a pair or group they agree.")
    page.get_by_role("button", name="Yes, pair them").click()
    expect(page.get_by_role("status")).to_contain_text("Paired")
    page.goto(f"/foils/{foil_of('INV-12')}")
    expect(page.locator("main")).to_contain_text("one transfer")
    page.get_by_label("Note").first.fill("another transfer")
    page.get_by_role("button", name="End the pair").click()
    expect(page.get_by_role("status")).to_contain_text("The pair has ended")
    assert [error for error in visitor.console_errors if "422" not in error] == []


def test_a_counterfoil_shows_the_versions_of_its_documents(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto(f"/foils/{foil_of('INV-10')}")
    rows = page.get_by_role("table").first.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("current")
    expect(rows.first).to_contain_text("60.00")
    expect(rows.nth(1)).to_contain_text("55.00")


def test_pages_work_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/runs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_the_header_is_one_line_on_a_small_desktop_screen(visitor: Visitor) -> None:
    visitor.sign_in("cory")
    visitor.page.goto("/foils")
    tops = visitor.page.evaluate(
        "[...document.querySelectorAll('.bar > *')].map(e => e.getBoundingClientRect())"
    )
    middles = [box["top"] + box["height"] / 2 for box in tops]
    assert max(middles) - min(middles) < 10
    assert tops[2]["width"] > 140


def test_a_page_without_permission_has_no_link(visitor: Visitor) -> None:
    page = visitor.sign_in("leo")
    expect(page.get_by_role("link", name="Counterfoils")).to_have_count(0)
    page.goto("/foils")
    expect(page.get_by_role("alert")).to_contain_text("foils:any:read")


def test_lists_refresh_themselves(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/runs")
    page.evaluate("document.querySelector('h1').textContent = 'stale'")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible(timeout=15_000)


def test_signing_out_returns_to_the_sign_in_page(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("signed out")
    page.goto("/runs")
    assert re.search(r"/sign-in\?next=/runs$", page.url)


def test_a_person_chooses_what_is_mailed_and_sees_it_again(visitor: Visitor) -> None:
    page = visitor.sign_in("fay")
    page.goto("/notices")
    page.get_by_role("link", name="Choose what is mailed to you").click()
    page.get_by_label("New Cases, and Cases given to you").select_option(label="in the daily digest")
    page.get_by_label("Quiet hours from, empty for none").fill("22:00")
    page.get_by_label("Time zone of these times").fill("Europe/Berlin")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("Quiet hours need a beginning and an end.")
    expect(page.get_by_label("Quiet hours until")).to_be_focused()
    page.get_by_label("Quiet hours until").fill("07:00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved. It holds for what is mailed from now on.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("New Cases, and Cases given to you")).to_have_value("digest")
    expect(page.get_by_label("Quiet hours from, empty for none")).to_have_value("22:00")
    expect(page.get_by_label("Time zone of these times")).to_have_value("Europe/Berlin")
