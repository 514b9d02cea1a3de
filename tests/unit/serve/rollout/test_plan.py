from hypothesis import given
from hypothesis import strategies as st

from serve.rollout.assignment import Placement, Report
from serve.rollout.plan import ModelState, Placements, advance, failure, needs_proof, refuse, roll_back


def placed(number: int, weight: float = 1.0) -> Placements:
    return (Placement("photos", str(number), f"s3://scenes/models/photos/{number}", f"digest{number}", weight),)


def served(number: int, at_s: float = 0.0) -> ModelState:
    return advance(ModelState(), placed(number), at_s)


def report(**told: object) -> Report:
    return Report("one", 1, **told)  # type: ignore[arg-type]


def judged(state: ModelState, *reports: Report, now_s: float = 1.0) -> str | None:
    return failure(state, reports, now_s, watch_s=60, max_failures=3)


def test_what_is_served_needs_no_proof_and_what_was_refused_gets_no_second_chance() -> None:
    state = served(1)
    assert not needs_proof(state, placed(1))
    assert needs_proof(state, placed(2))
    refused = refuse(state, placed(2), "does not answer its golden images")
    assert not needs_proof(refused, placed(2))
    assert refused.current == placed(1)
    assert needs_proof(refused, placed(3))


def test_a_refusal_by_one_replica_takes_the_version_back_from_all() -> None:
    state = advance(served(1), placed(2), 10)
    assert judged(state, report()) is None
    reason = judged(state, report(), report(refused={("photos", "digest2"): "wrong answers"}), now_s=1e6)
    assert reason == "replica one: wrong answers"
    back = roll_back(state, reason, 11)
    assert back.current == placed(1)
    assert not needs_proof(back, placed(2))
    assert judged(back, report(refused={("photos", "digest2"): "wrong answers"})) is None


def test_failures_count_over_all_replicas_and_only_while_the_version_is_watched() -> None:
    state = advance(served(1), placed(2), 10)
    failed = [report(failures={("photos", "digest2"): 2}), report(failures={("photos", "digest2"): 1})]
    assert judged(state, failed[0], now_s=20) is None
    assert "3 requests" in str(judged(state, *failed, now_s=20))
    assert judged(state, *failed, now_s=100) is None


def test_the_old_version_of_a_canary_is_not_blamed() -> None:
    state = advance(served(1), (*placed(1, 0.9), *placed(2, 0.1)), 0)
    assert judged(state, report(failures={("photos", "digest1"): 9})) is None
    assert judged(state, report(failures={("photos", "digest2"): 9})) is not None


def test_the_first_version_has_nothing_to_go_back_to() -> None:
    assert judged(served(1), report(refused={("photos", "digest1"): "wrong answers"})) is None


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["pass", "fail", "refused later"])), max_size=20))
def test_whatever_happens_something_that_was_proven_is_served(moves: list[tuple[int, str]]) -> None:
    state, proven = served(0), {placed(0)}
    for number, outcome in moves:
        if not needs_proof(state, placed(number)):
            continue
        if outcome == "fail":
            state = refuse(state, placed(number), "no")
            continue
        proven.add(placed(number))
        before = state.current
        state = advance(state, placed(number), 0)
        if outcome == "refused later":
            state = roll_back(state, "no", 0)
            assert state.current == before
        assert state.current in proven


def test_a_version_is_watched_from_when_it_came() -> None:
    """From then for `watch_s`, its end included; one failure fewer is borne."""
    state = advance(served(1), placed(2), 10)
    failed = report(failures={("photos", "digest2"): 3})
    assert judged(state, failed, now_s=70) == "it failed to answer 3 requests, which other versions answered"
    assert judged(state, failed, now_s=70.5) is None
    assert roll_back(state, "no", 11) == ModelState(placed(1), placed(1), {placed(2): "no"}, 11)
    assert refuse(state, placed(3), "wrong") == ModelState(placed(2), placed(1), {placed(3): "wrong"}, 10)
    assert state == ModelState(placed(2), placed(1), {}, 10)
    assert served(1, 5.0) == ModelState(placed(1), placed(1), {}, 5.0)
    assert ModelState().since_s == 0
