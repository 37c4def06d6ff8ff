"""Deadlines swept together, by a clock that the test advances."""

from __future__ import annotations

from routewright.deadlines import Deadlines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Member:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.called_at: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.called_at.append(now)


def test_member_is_called_once_when_its_deadline_has_passed() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    due, later, never = Member(101.0), Member(102.5), Member(0.0)
    for member in (due, later, never):
        deadlines.add(member)

    for clock.now in (100.5, 101.0, 102.0, 103.0, 104.0):
        deadlines.sweep()

    assert (due.called_at, later.called_at, never.called_at) == ([101.0], [103.0], [])
    assert deadlines.now == 104.0


def test_member_may_set_a_new_deadline_and_leave_while_it_is_called() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)

    class Again(Member):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            self.deadline = now + 1.0
            if len(self.called_at) == 2:
                deadlines.discard(self)

    member = Again(101.0)
    deadlines.add(member)
    for clock.now in (101.0, 102.0, 103.0, 104.0):
        deadlines.sweep()

    assert member.called_at == [101.0, 102.0]


def test_every_tick_is_told_the_time_after_the_members() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    ticks: list[float] = []
    deadlines.every_tick(ticks.append)

    deadlines.sweep()
    clock.now = 7.0  # a clock that went back calls nobody early
    member = Member(100.0)
    deadlines.add(member)
    deadlines.sweep()

    assert ticks == [100.0, 7.0]
    assert member.called_at == []
