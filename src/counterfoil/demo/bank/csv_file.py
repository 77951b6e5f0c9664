"""Statement of a day as a CSV file in the style of banks in the United States: a summary, then debits and credits in columns."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from counterfoil.demo.bank.day import ClosedDay

COLUMNS = ("Date", "Reference", "Type", "Name", "Description", "Debit", "Credit", "Running Bal.")
_TYPES = {
    "payout": "ACH CREDIT",
    "wire": "WIRE IN",
    "transfer": "WIRE OUT",
    "fee": "SERVICE FEE",
    "return": "RETURNED ITEM",
}


def us_csv_file(day: ClosedDay) -> bytes:
    """Return the file: dates as 03/28/2026, amounts as 1,234.50, lines that end with CR LF."""

    def number(amount: Decimal) -> str:
        return f"{amount:,.{day.digits}f}"

    amounts = [line.movement.amount for line in day.lines]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["Description", "", "Summary Amt."])
    writer.writerow([f"Beginning balance as of {day.day:%m/%d/%Y}", "", number(day.opening)])
    writer.writerow(["Total credits", "", number(sum((one for one in amounts if one >= 0), Decimal(0)))])
    writer.writerow(["Total debits", "", number(sum((one for one in amounts if one < 0), Decimal(0)))])
    writer.writerow([f"Ending balance as of {day.day:%m/%d/%Y}", "", number(day.closing)])
    writer.writerow([])
    writer.writerow(COLUMNS)
    for line in day.lines:
        movement = line.movement
        amount = number(abs(movement.amount))
        sides = (amount, "") if movement.amount < 0 else ("", amount)
        writer.writerow([f"{day.day:%m/%d/%Y}", line.reference, _TYPES[movement.kind], movement.counterparty or "",
                         movement.text, *sides, number(line.balance)])  # fmt: skip
    return text.getvalue().encode()
