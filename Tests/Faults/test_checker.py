"""The checker finds what it is there for: histories that are good, then each with one thing wrong.

usage: python3 -m unittest discover -s Tests/Faults
"""
import copy
import pathlib
import tempfile
import unittest

import checker
from checker import Record
from trace import Trace

COMMIT = "c" * 40


def run(number: int, host: str, parent: int, **changes) -> dict:
    return {
        "id": number, "name": "PRE_DEPLOY", "parent": parent, "marker": f"m{number}", "status": "succeeded",
        "fence": None, "adopted": None, "host": host, "commit_id": COMMIT} | changes


def deployment(number: int, host: str, **changes) -> dict:
    return {"id": number, "host": host, "commit_id": COMMIT, "status": "succeeded", "settled": True} | changes


class CheckerTests(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trace = Trace(pathlib.Path(folder.name))
        # h1 ran it and was lost, h2 ran it again, h1 came back and took that result; POST_DEPLOY is each host's own.
        self.record = Record(
            deployments=[
                deployment(1, "h1", status="interrupted", settled=False), deployment(2, "h2"), deployment(3, "h1")],
            runs=[
                run(1, "h1", 1, status="interrupted", fence=1), run(2, "h2", 2, fence=2),
                run(3, "h2", 2, name="POST_DEPLOY"), run(4, "h1", 3, adopted=2), run(5, "h1", 3, name="POST_DEPLOY")],
            outcomes=[
                {"name": "PRE_DEPLOY", "commit_id": COMMIT, "run": 2, "fence": 2, "status": "succeeded", "failures": 0}],
            leases=[{"name": "PRE_DEPLOY", "fence": 2, "holder": None, "host": None}])
        self.lines = [
            f"1.00 start h1 PRE_DEPLOY {COMMIT} 1 m1 1 100", f"2.00 term h1 PRE_DEPLOY {COMMIT} 1 m1 1 100",
            f"3.00 start h2 PRE_DEPLOY {COMMIT} 2 m2 2 200", f"4.00 end h2 PRE_DEPLOY {COMMIT} 2 m2 2 200",
            f"5.00 start h2 POST_DEPLOY {COMMIT} - m3 3 201", f"6.00 end h2 POST_DEPLOY {COMMIT} - m3 3 201",
            f"7.00 start h1 POST_DEPLOY {COMMIT} - m5 5 101", f"8.00 end h1 POST_DEPLOY {COMMIT} - m5 5 101"]

    def found(self) -> list[str]:
        self.trace.file.write_text("".join(line + "\n" for line in self.lines))
        return checker.problems(self.record, self.trace, [COMMIT], ["h1", "h2"], {"h1"}, set())

    def expect(self, word: str) -> None:
        found = self.found()
        self.assertTrue(any(problem.startswith(word) for problem in found), f"{word} is not in {found}")

    def test_a_good_history_passes(self) -> None:
        self.assertEqual(self.found(), [])

    def test_an_overlap(self) -> None:
        self.lines.insert(2, f"2.90 overlap h2 PRE_DEPLOY {COMMIT} 2 m2 2 200")
        self.expect("OVERLAP")

    def test_a_fence_that_does_not_grow(self) -> None:
        self.lines = self.lines[2:4] + self.lines[:2] + self.lines[4:]
        self.expect("FENCE")

    def test_two_runs_with_one_fence(self) -> None:
        self.record.runs[0]["fence"] = 2
        self.expect("FENCE")

    def test_a_commit_without_a_result(self) -> None:
        self.record.deployments[2]["settled"] = False
        self.expect("RESULT")

    def test_a_commit_without_a_deployment(self) -> None:
        del self.record.deployments[1]
        self.expect("RESULT")

    def test_a_result_by_a_stale_fence(self) -> None:
        self.record.outcomes[0] |= {"run": 1, "fence": 1}
        self.expect("STALE")

    def test_a_success_that_did_not_happen(self) -> None:
        self.record.runs[0]["status"] = "succeeded"
        self.expect("UNTRUE")

    def test_two_successes(self) -> None:
        self.record.runs[0]["status"] = "succeeded"
        self.lines[1] = self.lines[1].replace("term", "end")
        self.expect("TWICE")

    def test_what_is_left_running(self) -> None:
        for rows in (self.record.deployments, self.record.runs):
            before = copy.deepcopy(rows[0])
            rows[0]["status"] = "running"
            self.expect("RUNNING")
            rows[0] = before

    def test_a_lease_that_is_not_given_up(self) -> None:
        self.record.leases[0] |= {"holder": "someone", "host": "h2"}
        self.expect("LEASE")

    def test_a_run_that_is_not_in_the_record(self) -> None:
        del self.record.runs[2]
        self.expect("LOST")

    def test_a_success_that_is_recorded_as_something_else(self) -> None:
        self.record.runs[2]["status"] = "interrupted"
        self.expect("LOST")

    def test_a_run_under_another_fence_than_it_was_told(self) -> None:
        self.lines = [line.replace(f"{COMMIT} 2", f"{COMMIT} 3") for line in self.lines]
        self.expect("DIFFERENT")

    def test_runs_of_a_host_out_of_order(self) -> None:
        self.record.runs.append(run(6, "h2", 2, name="POST_DEPLOY"))
        self.lines[4:4] = [
            f"4.10 start h2 POST_DEPLOY {COMMIT} - m6 6 202", f"4.20 end h2 POST_DEPLOY {COMMIT} - m6 6 202"]
        self.expect("ORDER")

    def test_an_adoption_of_nothing(self) -> None:
        for wrong in (99, 3):
            self.record.runs[3]["adopted"] = wrong
            self.expect("ADOPTED")


if __name__ == "__main__":
    unittest.main()
