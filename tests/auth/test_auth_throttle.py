"""Guessing gets slow, and the owner gets in."""

import pytest

from services.auth.domain.throttle import (
    FORGET_AFTER_S,
    MAX_DELAY_S,
    PER_ADDRESS,
    PER_USER_AND_ADDRESS,
    LoginThrottle,
    LoginThrottled,
    network_of,
)
from tests.support.auth import Clock

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def throttle(clock: Clock) -> LoginThrottle:
    return LoginThrottle(clock)


def fail(throttle: LoginThrottle, times: int, username: str = "paradrop", address: str = HERE) -> None:
    for _ in range(times):
        throttle.begin(username, address)


def wait_of(throttle: LoginThrottle, username: str = "paradrop", address: str = HERE) -> float:
    with pytest.raises(LoginThrottled) as raised:
        throttle.begin(username, address)
    assert raised.value.reason == "LOGIN_THROTTLED"
    assert raised.value.retry_after_s is not None
    return raised.value.retry_after_s


def test_a_few_mistakes_cost_nothing(throttle: LoginThrottle) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free)
    throttle.begin("paradrop", HERE)


def test_the_delay_doubles_up_to_a_minute(throttle: LoginThrottle, clock: Clock) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free)
    waits = []
    for _ in range(9):
        fail(throttle, 1)
        waits.append(wait_of(throttle))
        clock.advance(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, MAX_DELAY_S, MAX_DELAY_S, MAX_DELAY_S]


def test_whoever_never_stops_does_not_prolong_the_delay(throttle: LoginThrottle, clock: Clock) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)
    for _ in range(1000):
        wait_of(throttle)
    clock.advance(1)
    throttle.begin("paradrop", HERE)


def test_thousands_of_refusals_later_the_wait_is_still_a_minute(
    throttle: LoginThrottle, clock: Clock
) -> None:
    for _ in range(5000):
        fail(throttle, 1)
        clock.advance(MAX_DELAY_S)
    throttle.begin("paradrop", HERE)
    assert wait_of(throttle) == MAX_DELAY_S


def test_other_users_and_other_addresses_do_not_wait(throttle: LoginThrottle) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)
    wait_of(throttle)
    throttle.begin("ann", HERE)
    throttle.begin("paradrop", THERE)


def test_an_address_that_tries_many_users_waits_with_all_of_them(throttle: LoginThrottle) -> None:
    for number in range(PER_ADDRESS.free + 1):
        fail(throttle, 1, f"user{number}")
    wait_of(throttle, "another")
    throttle.begin("another", THERE)


def test_success_forgets_the_mistakes_of_the_user(throttle: LoginThrottle) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free)
    throttle.succeed(throttle.begin("paradrop", HERE), "paradrop", HERE)
    fail(throttle, PER_USER_AND_ADDRESS.free)


def test_success_does_not_forget_what_the_address_tried_on_others(
    throttle: LoginThrottle, clock: Clock
) -> None:
    """Otherwise whoever has an account could guess at others without any delay of the address."""
    for number in range(PER_ADDRESS.free):
        fail(throttle, 1, f"user{number}")
    throttle.succeed(throttle.begin("mallory", HERE), "mallory", HERE)
    fail(throttle, 1, "victim")
    wait_of(throttle, "another victim")


def test_what_was_not_looked_at_does_not_count(throttle: LoginThrottle) -> None:
    for _ in range(100):
        throttle.begin("paradrop", HERE).withdraw()


def test_attempts_at_once_count_before_they_end(throttle: LoginThrottle) -> None:
    running = [throttle.begin("paradrop", HERE) for _ in range(PER_USER_AND_ADDRESS.free + 1)]
    wait_of(throttle)
    assert len(running) == PER_USER_AND_ADDRESS.free + 1


def test_a_quiet_while_forgets_everything(throttle: LoginThrottle, clock: Clock) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)
    clock.advance(FORGET_AFTER_S + 1)
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)


def test_the_first_refusal_of_a_delay_is_marked(throttle: LoginThrottle, clock: Clock) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)
    marks = []
    for _ in range(3):
        with pytest.raises(LoginThrottled) as raised:
            throttle.begin("paradrop", HERE)
        marks.append(raised.value.is_first)
    assert marks == [True, False, False]
    clock.advance(1)
    fail(throttle, 1)
    with pytest.raises(LoginThrottled) as raised:
        throttle.begin("paradrop", HERE)
    assert raised.value.is_first


def test_known_credentials_pass_a_delay_until_somebody_guesses_fast(
    throttle: LoginThrottle, clock: Clock
) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1)
    for _ in range(PER_USER_AND_ADDRESS.tolerated):
        wait_of(throttle)
    assert throttle.lets_known_pass("paradrop", HERE)
    wait_of(throttle)
    assert not throttle.lets_known_pass("paradrop", HERE)
    assert throttle.lets_known_pass("paradrop", THERE)
    clock.advance(1)
    assert throttle.lets_known_pass("paradrop", HERE)


def test_known_credentials_wait_as_well_when_the_address_guesses_fast(throttle: LoginThrottle) -> None:
    for number in range(PER_ADDRESS.free + 1):
        fail(throttle, 1, f"user{number}")
    for number in range(PER_ADDRESS.tolerated + 1):
        wait_of(throttle, f"user{number}")
    assert not throttle.lets_known_pass("paradrop", HERE)


def test_memory_is_bounded(throttle: LoginThrottle) -> None:
    for number in range(PER_ADDRESS.capacity + 100):
        fail(throttle, 1, address=f"10.0.{number // 256}.{number % 256}")
    for limiter in (throttle._pairs, throttle._addresses):
        assert len(limiter._streaks) == PER_ADDRESS.capacity


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_network_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_another_address_of_the_same_ipv6_network_waits(throttle: LoginThrottle) -> None:
    fail(throttle, PER_USER_AND_ADDRESS.free + 1, address="2001:db8::1")
    assert wait_of(throttle, address="2001:db8::2") > 0
    throttle.begin("paradrop", "2001:db8:0:1::1")
