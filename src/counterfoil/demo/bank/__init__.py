"""The demonstration's bank: it books the movements of a day and writes statements as banks do."""

from counterfoil.demo.bank.account import BankAccount, DayClosed, DemoBank
from counterfoil.demo.bank.movements import Movement, MovementPart

__all__ = ["BankAccount", "DayClosed", "DemoBank", "Movement", "MovementPart"]
