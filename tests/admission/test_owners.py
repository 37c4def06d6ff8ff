"""End users and tags that a call names have budgets of their own."""

from __future__ import annotations

from typing import Any

import pytest

from admission.test_budgets import Bank, budget
from routewright.admission.owners import CallOwners
from routewright.errors import BudgetExceeded
from routewright.types import Allowance


@pytest.fixture
def bank() -> Bank:
    made = Bank()

    def customer(customer_id: str) -> Allowance | None:
        return budget(200, "customer", customer_id) if customer_id != "free" else None

    tags = {"research": budget(300, "tag", "research")}
    made.admission.owners_of_call = CallOwners(made.admission.meters_of, customer=customer, tags=tags)
    return made


def passed(bank: Bank, tries: int, *, is_master: bool = False, **fields: Any) -> int:
    who = bank.caller()
    if is_master:
        who = type(who)(key_hash="", alias="master", is_master=True, models=None)
    count = 0
    for _ in range(tries):
        try:
            bank.settle(bank.admit(who, **fields), 100)
        except BudgetExceeded:
            continue
        count += 1
    return count


def test_every_end_user_has_a_budget_of_its_own(bank: Bank) -> None:
    """R10: on a key that has none."""
    assert [passed(bank, 5, user=user) for user in ("ann", "bob")] == [2, 2]
    assert passed(bank, 9, user="free") == 9
    assert passed(bank, 9) == 9


def test_tag_has_a_budget_and_is_counted_once_however_often_it_is_named(bank: Bank) -> None:
    assert passed(bank, 9, tags=["research", "research", "unknown"]) == 3
    assert passed(bank, 1, user="ann", tags=["research"]) == 0
    assert passed(bank, 9, user="ann") == 2, "what a tag refused was not counted for the end user"


def test_budgets_do_not_stop_the_master_key(bank: Bank) -> None:
    assert passed(bank, 9, is_master=True, user="ann", tags=["research"]) == 9
