#!/usr/bin/env python3
"""Troubles of a fleet of agents with the built binary and a real PostgreSQL, and a checker that judges what became of it.

usage: main.py AGENT_BINARY [--seeds N] [--first-seed S] [--scenario NAME …] [--at-once N] [--short] [--keep]

Every scenario is run for every seed; a line each says how long it took. After a failure: the seed, what was found, and where
the hooks' trace, the agents' logs and the server's log are kept.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

import processes
import scenarios
from cluster import Template
from fleet import Failure
from world import World

# Seconds that one seed of each scenario takes in the full form, six at a time on two cores; most of it is waiting.
USUAL = {
    "everything": 120, "database_crashes": 260, "proxies": 120, "kill_holder": 33, "pause_holder": 33,
    "cut_off_in_namespace": 35, "dark_for_a_while": 33, "many_at_once": 25, "long_outage": 55, "result_in_outage": 35,
    "exhausted_connections": 25, "statement_timeouts": 28, "wrong_password": 22, "standby": 12, "through_pooler": 25,
    "stop_holder": 12,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [scenario.__name__ for scenario in scenarios.ALL]
    parser.add_argument("agent")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=names, default=[])
    parser.add_argument("--at-once", type=int, help="scenarios side by side: 6, and 10 in the short form")
    parser.add_argument("--short", action="store_true", help="less of everything, in a minute")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what went well, too")
    return parser.parse_args()


class Suite:
    def __init__(self, options: argparse.Namespace, folder: pathlib.Path) -> None:
        self.options = options
        self.folder = folder
        self.template = Template(folder)
        self.binary = os.path.abspath(options.agent)
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self._printing = threading.Lock()

    def say(self, text: str) -> None:
        with self._printing:
            print(text, flush=True)

    def run(self, scenario, seed: int) -> None:
        name = f"{scenario.__name__} seed {seed}"
        folder = self.folder / f"{scenario.__name__}-{seed}"
        begin = time.monotonic()
        world = World(scenario.__name__, seed, folder, self.binary, self.template, self.options.short)
        problem: str | None = None
        try:
            scenario(world)
        except scenarios.Skipped as reason:
            self.skipped.append(name)
            self.say(f"SKIPPED  {name}: {reason}")
            return
        except Failure as failure:
            problem = str(failure)
        except Exception:  # noqa: what the harness itself stumbles over is shown as it is
            problem = traceback.format_exc()
        finally:
            world.close()
        took = f"{time.monotonic() - begin:5.1f} s"
        if problem is None:
            self.say(f"ok       {name}  {took}  {', '.join(world.notes)}".rstrip())
            if not self.options.keep:
                shutil.rmtree(folder, ignore_errors=True)
            return
        (self.folder / "keep").touch()
        self.failed.append(name)
        (folder / "found").write_text(problem + "\n")
        self.say(
            f"FAILED   {name}  {took}  {', '.join(world.notes)}\n    " + problem.replace("\n", "\n    ")
            + f"\n    kept: {folder} (out/trace, h*.log, pg/server.log)")


def main() -> int:
    options = parse()
    chosen = [made for made in scenarios.ALL if not options.scenario or made.__name__ in options.scenario]
    at_once = options.at_once or (10 if options.short else 6)
    # Every process from here on carries it; the keeper, which ends them all, is started without it.
    mark = uuid.uuid4().hex
    folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    folder.chmod(0o755)
    keeper = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("keeper.py")), mark, str(folder)],
        stdin=subprocess.PIPE, start_new_session=True)
    os.environ["FAULT_RUN"] = mark
    processes.become_subreaper()

    work = [(scenario, seed) for seed in range(options.first_seed, options.first_seed + options.seeds)
            for scenario in chosen]
    if not options.short:
        seconds = sum(USUAL[scenario.__name__] for scenario, _ in work) / at_once
        print(f"{len(work)} scenarios, {at_once} at a time: about {seconds / 60:.0f} minutes", flush=True)
    begin = time.monotonic()
    suite = Suite(options, folder)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for done in concurrent.futures.as_completed([pool.submit(suite.run, *one) for one in work]):
            done.result()
    if options.keep:
        (folder / "keep").touch()
    assert keeper.stdin
    keeper.stdin.close()
    keeper.wait()
    well = len(work) - len(suite.failed) - len(suite.skipped)
    print(f"{well} of {len(work)} well, {len(suite.skipped)} skipped, in {time.monotonic() - begin:.0f} s", flush=True)
    for name in suite.failed:
        print(f"failed: {name}", flush=True)
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())
