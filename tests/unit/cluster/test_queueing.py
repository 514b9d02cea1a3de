"""Whose turn it is: decided by each job for itself, and yet never more run than may, and everyone's turn comes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.job import Job, Turn
from cluster.queueing import MAX_JOBS, Act, Limits, QueueRequest, decide
from scenerec.errors import ClusterError


def job(name: str, **more: object) -> Job:
    known = {"turn": Turn.WAITING, "status": "RUNNING", "started_s": 1e9, "owner": "anna", **more}
    return Job(id=name, name=name, run_url="-", kind="train", framework="torch", message="", exit_code=None,
               ended_s=None, **known)  # type: ignore[arg-type]  # fmt: skip


def act(jobs: list[Job], name: str, limits: Limits) -> Act:
    return decide(jobs, name, limits).act


def test_the_higher_priority_goes_first_and_then_the_one_that_came_first() -> None:
    jobs = [job("late", started_s=3), job("first", started_s=1), job("urgent", started_s=9, priority=5)]
    one = Limits(max_jobs=1)
    assert [act(jobs, each.id, one) for each in jobs] == [Act.WAIT, Act.WAIT, Act.CLAIM]
    assert decide([*jobs, job("runs", turn=Turn.GIVEN)], "late", one).reason == (
        "its turn: place 3 of 3; 1 of at most 1 run (runs)"
    )
    ended = [*jobs[:2], replace(jobs[2], status="SUCCEEDED", turn=Turn.GIVEN)]
    assert [act(ended, name, one) for name in ("late", "first")] == [Act.WAIT, Act.CLAIM]


def test_an_owner_who_may_run_no_more_holds_up_nobody_else() -> None:
    jobs = [job("a1", turn=Turn.GIVEN), job("a2", started_s=1), job("b1", started_s=2, owner="ben")]
    limits = Limits(max_jobs=2, max_jobs_per_owner=1)
    assert act(jobs, "b1", limits) is Act.CLAIM
    assert decide(jobs, "a2", limits).reason == "its turn: anna has 1 running, the most that one owner may have"


def test_a_job_goes_after_others_have_succeeded_and_ends_where_they_have_not() -> None:
    before, after = job("before", turn=Turn.GIVEN), job("after", after=("before",))
    assert decide([before, after], "after", Limits()).reason == "before to succeed"
    assert act([replace(before, status="SUCCEEDED"), after], "after", Limits()) is Act.CLAIM
    for status in ("FAILED", "STOPPED"):
        with pytest.raises(ClusterError, match=rf"--after before: it has not succeeded \({status}\)"):
            decide([replace(before, status=status), after], "after", Limits())
    with pytest.raises(ClusterError, match="--after before: the cluster does not know this job any more"):
        decide([after], "after", Limits())
    # Who waits for another holds up nobody, whatever its priority.
    others = [before, replace(after, priority=9), job("third", started_s=2e9)]
    assert act(others, "third", Limits(max_jobs=2)) is Act.CLAIM


def test_of_two_that_claim_at_once_the_first_in_order_keeps_its_claim() -> None:
    jobs = [job("high", turn=Turn.CLAIMED, priority=1), job("low", turn=Turn.CLAIMED)]
    one = Limits(max_jobs=1)
    assert [act(jobs, each.id, one) for each in jobs] == [Act.WAIT, Act.WITHDRAW]
    assert act([jobs[0], replace(jobs[1], turn=Turn.WAITING)], "high", one) is Act.GO
    # One that has just gone may still be seen as claiming: nobody goes beside it.
    assert act([jobs[0], replace(jobs[1], turn=Turn.GIVEN)], "high", one) is Act.WITHDRAW


_JOBS = st.lists(
    st.tuples(st.integers(-1, 1), st.integers(0, 3), st.sampled_from(("anna", "ben"))), min_size=1, max_size=6
)
_LIMITS = st.builds(Limits, st.sampled_from((None, 1, 2)), st.sampled_from((None, 1, 2)))


@pytest.mark.slow
@given(_JOBS, _LIMITS, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_whatever_the_order_of_their_steps_never_more_run_than_may_and_all_get_their_turn(
    specs: list[tuple[int, int, str]], limits: Limits, rng: object
) -> None:
    """Each job reads and later writes what it has decided; steps of different jobs come in any order."""
    table = {
        f"j{number}": job(f"j{number}", priority=priority, started_s=float(started), owner=owner)
        for number, (priority, started, owner) in enumerate(specs)
    }
    decided: dict[str, Act] = {}
    runs: set[str] = set()
    turns = {Act.CLAIM: Turn.CLAIMED, Act.WITHDRAW: Turn.WAITING, Act.GO: Turn.GIVEN}
    for _ in range(3000):
        live = [name for name, each in table.items() if not each.ended]
        if not live:
            break
        name = rng.choice(live)  # type: ignore[attr-defined]
        if name in decided:
            if (turn := turns.get(decided.pop(name))) is not None:
                table[name] = replace(table[name], turn=turn)
        elif name in runs:
            if rng.random() < 0.3:  # type: ignore[attr-defined]
                runs.remove(name)
                table[name] = replace(table[name], status=rng.choice(["SUCCEEDED", "FAILED"]))  # type: ignore[attr-defined]
        else:
            decided[name] = act(list(table.values()), name, limits)
            if decided[name] is Act.GO:  # it begins, though the others cannot see it yet
                runs.add(name)
                assert limits.max_jobs is None or len(runs) <= limits.max_jobs
                for owner in ("anna", "ben"):
                    owned = sum(table[each].owner == owner for each in runs)
                    assert limits.max_jobs_per_owner is None or owned <= limits.max_jobs_per_owner
    assert all(each.ended for each in table.values()), "some never got their turn"


def test_a_request_is_read_back_from_the_metadata_of_its_job() -> None:
    request = QueueRequest("anna", -3, ("a-1", "b-2"), {"team": "vision"})
    details = {"submission_id": "c-3", "status": "RUNNING", "metadata": {**request.metadata(), "waits_for": "a-1"}}
    found = Job.parse(details)
    assert (found.owner, found.priority, found.after, found.labels) == ("anna", -3, request.after, request.labels)
    assert (found.status, found.waits_for, found.turn) == ("WAITING", "a-1", Turn.WAITING)
    assert Job.parse({**details, "status": "STOPPED"}).status == "STOPPED"


def test_limits_are_numbers_of_the_head_node() -> None:
    assert Limits.of_environment({}) == Limits() and Limits().are_none
    assert Limits.of_environment({MAX_JOBS: "4"}) == Limits(4)
    for wrong in ("0", "-1", "four"):
        with pytest.raises(ClusterError, match=f"{MAX_JOBS}={wrong} on the head node: must be"):
            Limits.of_environment({MAX_JOBS: wrong})
