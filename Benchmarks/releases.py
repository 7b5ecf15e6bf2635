"""Releases: what publishing one costs beside what git takes for the same, the way back, changed paths, and the disk.

Of what makes tens of thousands of files the fastest of several turns counts, here and for git: the kernel of a shared machine
now and then takes ten times as long for the same.
"""
import datetime
import json
import os
import signal
import statistics
import subprocess
import time

from measuring import AGENT, CLEAN, GIT, inside, row, run, wait_until, wall

FILES = 10_000


def main(root):
    upstream, work = made(root)
    publish(root, upstream, work)
    back(root, upstream)
    first_clone(root, upstream)
    changed_paths(root, upstream)
    gigabyte(root)
    disk(root)
    disk_of_packs(root)


def made(root):
    """A repository of many small files, and a clone to commit from."""
    work, upstream = root / "releases-work", root / "releases.git"
    run([*GIT, "init", "-q", "-b", "main", str(work)])
    for number in range(FILES):
        folder = work / f"d{number % 100:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number:05}.txt").write_text(f"{number}\n" * 20)
    run([*GIT, "add", "-A"], cwd=work)
    run([*GIT, "commit", "-q", "-m", "files"], cwd=work)
    run([*GIT, "clone", "-q", "--bare", str(work), str(upstream)])
    run([*GIT, "remote", "add", "origin", str(upstream)], cwd=work)
    return upstream, work


def change(work, text):
    (work / "d00" / "f00000.txt").write_text(text)
    run([*GIT, "commit", "-q", "-am", text], cwd=work)
    run([*GIT, "push", "-q", "origin", "main"], cwd=work)


def environment(root, name, upstream, **more):
    (root / name).mkdir(exist_ok=True)
    return dict(
        CLEAN, WORKSPACE_PATH=str(root / name / "ws"), AGENT_STATE_DIR=str(root / name / "state"),
        AGENT_LOG_LEVEL="error", AGENT_PUBLISH="symlink", GITHUB_REPO_URL=f"file://{upstream}", AGENT_APP="shop") | more


def timed(command, **keywords):
    # What was written and removed before must not be waited for here.
    os.sync()
    start = time.perf_counter()
    run(command, **keywords)
    return (time.perf_counter() - start) * 1000


def moved(link, begin_it):
    """Calls `begin_it` and waits until the link moves: what it returned, when it was called, and the milliseconds."""
    os.sync()
    before = os.readlink(link)
    begin = time.perf_counter()
    begun = begin_it()
    while os.readlink(link) == before:
        assert time.perf_counter() < begin + 60, "the link has not moved"
        time.sleep(0.0005)
    return begun, begin, (time.perf_counter() - begin) * 1000


def link_moved(command, environment, link):
    """Time until a link has moved that a command moves, and until the command has ended."""
    program, begin, figure = moved(link, lambda: subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert program.wait(timeout=60) == 0
    return figure, (time.perf_counter() - begin) * 1000


def written(root):
    """What it takes until all that was written is on the disk."""
    start = time.perf_counter()
    run(["sync", "-f", str(root)])
    return (time.perf_counter() - start) * 1000


# Where files were removed, the kernel (ext4) does not use their inodes again for some minutes, and looks at each of them for
# every new file: git's work tree takes twenty times as long then. So nothing is removed while this is measured.
KEPT = {"AGENT_KEEP_RELEASES": "50"}


def rests(environment, since):
    """Whether the agent that watches has found nothing to do since then: right after a deployment it looks once more."""
    shown = json.loads(subprocess.run(
        [AGENT, "status", "--json"], env=environment, capture_output=True, text=True).stdout)
    looked = shown["last_check"] and datetime.datetime.fromisoformat(shown["last_check"].replace("Z", "+00:00"))
    return looked and looked.timestamp() > since and shown["last_outcome"] == "unchanged"


def publish(root, upstream, work):
    """A change of one file, by turns with what git takes to fetch it and to check it out beside."""
    own = environment(root, "publish", upstream, **KEPT, GITHUB_SYNC_INTERVAL="1h", ENABLE_DEV_HEALTH="false")
    once = environment(root, "publish-once", upstream, **KEPT)
    in_place = environment(root, "publish-in-place", upstream, AGENT_PUBLISH="in-place")
    for each in (own, once, in_place):
        run([AGENT, "run-once"], env=each)
    floor = root / "publish-floor.git"
    run([*GIT, "clone", "-q", "--bare", "--depth=1", f"file://{upstream}", str(floor)])
    told, links, places, floors, synced = [], [], [], [], []
    since = time.time()
    sidecar = subprocess.Popen([AGENT, "run"], env=own)
    try:
        wait_until(lambda: rests(own, since), what="the first check")
        for turn in range(9):
            change(work, f"publish {turn}\n")
            tree = root / f"publish-floor-{turn}"
            floors.append(
                timed([*GIT, "fetch", "-q", "--depth=1", f"file://{upstream}", "+main:refs/heads/fetched"], cwd=floor)
                + timed([*GIT, "worktree", "add", "-q", "--detach", str(tree), "refs/heads/fetched"], cwd=floor))
            synced.append(floors[-1] + written(root))
            told.append(moved(root / "publish" / "ws", lambda: sidecar.send_signal(signal.SIGHUP))[2])
            deployed = time.time()
            wait_until(lambda: rests(own, deployed), what="the look after a deployment")
            links.append(link_moved([AGENT, "run-once"], once, root / "publish-once" / "ws")[0])
            places.append(timed([AGENT, "run-once"], env=in_place))
    finally:
        sidecar.terminate()
        sidecar.wait(timeout=30)
    figure, single, place, git, safe = map(min, (told, links, places, floors, synced))
    row(f"a one-file change in {FILES:,} files, symlink: an agent that watches is told of it until the link has moved, fastest of 9",
        "≤ 1.2 × git fetch + git worktree add", f"{figure:.0f} ms", f"{git:.0f} ms", f"{figure / git:.2f} ×",
        figure <= 1.2 * git)
    row("the same beside git's with its files on the disk, as the agent's are", "–", f"{figure:.0f} ms", f"{safe:.0f} ms",
        f"{figure / safe:.2f} ×")
    row("the same by run-once, with the start of the program", "–", f"{single:.0f} ms", f"{git:.0f} ms", f"{single / git:.2f} ×")
    row("the same in place, whole run-once", "–", f"{place:.0f} ms", f"{git:.0f} ms", f"{place / git:.2f} ×")


def back(root, upstream):
    """From the command's start until the link has moved, the release still there."""
    own = environment(root, "publish", upstream, **KEPT)
    times = []
    for _ in range(7):
        times.append(link_moved([AGENT, "rollback"], own, root / "publish" / "ws")[0])
        run([AGENT, "run-once", "--force"], env=own)
    figure = statistics.median(times)
    row(f"rollback, {FILES:,} files, its release still there: start of the command until the link has moved", "≤ 100 ms",
        f"{figure:.0f} ms", "–", "–", figure <= 100)


def first_clone(root, upstream):
    ours, floors, synced = [], [], []
    for turn in range(9):
        ours.append(timed([AGENT, "run-once"], env=environment(root, f"first-{turn}", upstream)))
        floors.append(
            timed([*GIT, "clone", "-q", "--depth=1", f"file://{upstream}", str(root / f"first-floor-{turn}")]))
        synced.append(floors[-1] + written(root))
    figure, floor = min(ours), min(floors)
    row(f"first clone of {FILES:,} files, symlink: whole run-once, fastest of 9", "≤ 1.1 × git clone --depth 1", f"{figure:.0f} ms",
        f"{floor:.0f} ms", f"{figure / floor:.2f} ×", figure <= 1.1 * floor)
    safe = min(synced)
    row("the same beside git's with its files on the disk, as the agent's are", "–", f"{figure:.0f} ms", f"{safe:.0f} ms",
        f"{figure / safe:.2f} ×")


def changed_paths(root, upstream):
    """Every file changed, and one."""
    work = root / "changes"
    run([*GIT, "clone", "-q", str(upstream), str(work)])
    for what, files in ((f"all of {FILES:,} files", sorted(work.glob("d*/*.txt"))), ("one file of them", [work / "d00" / "f00000.txt"])):
        run([*GIT, "branch", "-q", "-f", "base", "HEAD"], cwd=work)
        for file in files:
            file.write_text(file.read_text() + "changed\n")
        run([*GIT, "commit", "-q", "-am", what], cwd=work)
        figures = inside(dict(CLEAN, WORKSPACE_PATH=str(work)), "changes", 21)
        assert figures["paths"] == len(files)
        floor = wall([*GIT, "diff", "--name-only", "base", "HEAD"], 9, cwd=work)
        row(f"changed paths of two commits that differ in {what}, held against three pathspecs", "≤ 50 ms",
            f"{figures['changes_ms']:.1f} ms", f"{floor:.1f} ms (git diff)", f"{figures['changes_ms'] / floor:.2f} ×",
            figures["changes_ms"] <= 50)


def gigabyte(root):
    """One file that cannot be compressed: nothing of it goes through the agent."""
    work, upstream, bytes_all = root / "gigabyte-work", root / "gigabyte.git", 1 << 30
    run([*GIT, "init", "-q", "-b", "main", str(work)])
    with open(work / "data.bin", "wb") as file:
        for _ in range(64):
            file.write(os.urandom(bytes_all // 64))
    run([*GIT, "-c", "core.compression=0", "add", "-A"], cwd=work)
    run([*GIT, "commit", "-q", "-m", "data"], cwd=work)
    run([*GIT, "clone", "-q", "--bare", str(work), str(upstream)])
    own = environment(root, "gigabyte", upstream)
    ours = timed([AGENT, "run-once"], env=own)
    floor = timed([*GIT, "clone", "-q", "--depth=1", f"file://{upstream}", str(root / "gigabyte-floor")])
    run(["cmp", str(work / "data.bin"), str(root / "gigabyte" / "ws" / "data.bin")])
    row("first clone of 1 GB in one file, symlink: whole run-once, files on the disk", "–", f"{ours / 1000:.1f} s",
        f"{floor / 1000:.1f} s (git clone --depth 1)", f"{ours / floor:.2f} ×")


def size(path):
    """Bytes on the disk, as du counts them."""
    return int(subprocess.run(["du", "-sk", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]) * 1024


def disk(root):
    """1,000 deployments of a file that changes whole."""
    work, upstream, bytes_each = root / "disk-work", root / "disk.git", 200_000
    run([*GIT, "init", "-q", "-b", "main", str(work)])
    (work / "data.bin").write_bytes(os.urandom(bytes_each))
    run([*GIT, "add", "-A"], cwd=work)
    run([*GIT, "commit", "-q", "-m", "0"], cwd=work)
    run([*GIT, "clone", "-q", "--bare", str(work), str(upstream)])
    run([*GIT, "remote", "add", "origin", str(upstream)], cwd=work)
    own = environment(root, "disk", upstream, AGENT_KEEP="50")
    in_place = environment(root, "disk-in-place", upstream, AGENT_KEEP="50", AGENT_PUBLISH="in-place")
    sizes, places = [], []
    for turn in range(1, 1001):
        (work / "data.bin").write_bytes(os.urandom(bytes_each))
        run([*GIT, "commit", "-q", "-am", str(turn)], cwd=work)
        run([*GIT, "push", "-q", "origin", "main"], cwd=work)
        run([AGENT, "run-once"], env=own)
        run([AGENT, "run-once"], env=in_place)
        sizes.append(size(root / "disk" / "state"))
        places.append(size(root / "disk-in-place"))
    history = json.loads(subprocess.run(
        [AGENT, "history", "--json", "--limit", "1"], env=own, check=True, capture_output=True).stdout)
    assert history[0]["id"] == 1000 and history[0]["status"] == "succeeded"
    first, second = max(sizes[: len(sizes) // 2]), max(sizes[len(sizes) // 2 :])
    row("1,000 deployments of 200 KB that change whole: most disk of the state in the second 500 (in the first)", "flat",
        f"{second / 1e6:.1f} MB", f"{first / 1e6:.1f} MB", f"{second / first:.2f} ×", second <= 1.1 * first)
    # The record and the logs of 50 deployments included; the pack is that of the commits alone.
    floor = root / "disk-floor.git"
    run([*GIT, "clone", "-q", "--bare", "--depth=4", f"file://{upstream}", str(floor)])
    state, checkouts, pack = sizes[-1], 4 * bytes_each, size(floor / "objects")
    row("the same at the end, with 4 releases", "≤ 1.5 × checkouts + pack", f"{state / 1e6:.1f} MB",
        f"{checkouts / 1e6:.1f} MB + {pack / 1e6:.1f} MB", f"{state / (checkouts + pack):.2f} ×",
        state <= 1.5 * (checkouts + pack))
    first, second = max(places[: len(places) // 2]), max(places[len(places) // 2 :])
    row("in place, state and workspace: most disk in the second 500 (in the first)", "flat",
        f"{second / 1e6:.1f} MB", f"{first / 1e6:.1f} MB", f"{second / first:.2f} ×", second <= 1.1 * first)


def packs(*repositories):
    """Bytes of the objects of repositories; what is one file counts once."""
    folders = [str(each / "objects") for each in repositories]
    total = subprocess.run(["du", "-sck", *folders], check=True, capture_output=True, text=True).stdout
    return int(total.splitlines()[-1].split()[0]) * 1024


def disk_of_packs(root, deployments=20, files=200, bytes_each=100_000):
    """Deployments that each change all of many files that nothing compresses: what the repositories take, at most, beside a pack
    of the commits that are kept; and the time, beside that of the first ones, which have nothing to tidy up."""
    work, upstream, kept = root / "packs-work", root / "packs.git", 4
    run([*GIT, "init", "-q", "-b", "main", str(work)])
    run([*GIT, "init", "-q", "--bare", "-b", "main", str(upstream)])
    run([*GIT, "remote", "add", "origin", str(upstream)], cwd=work)
    modes = {mode: environment(root, f"packs-{mode}", upstream, AGENT_PUBLISH=mode) for mode in ("symlink", "in-place")}
    ratios, times = {mode: [] for mode in modes}, {mode: [] for mode in modes}
    for turn in range(1, deployments + 1):
        for number in range(files):
            (work / f"f{number}").write_bytes(os.urandom(bytes_each))
        run([*GIT, "add", "-A"], cwd=work)
        run([*GIT, "commit", "-q", "-m", str(turn)], cwd=work)
        run([*GIT, "push", "-q", "origin", "main"], cwd=work)
        floor = root / f"packs-floor-{turn}.git"
        run([*GIT, "clone", "-q", "--bare", f"--depth={min(turn, kept)}", f"file://{upstream}", str(floor)])
        needed = packs(floor)
        run(["rm", "-rf", str(floor)])
        for mode, own in modes.items():
            times[mode].append(timed([AGENT, "run-once"], env=own))
            home = root / f"packs-{mode}"
            stores = list(home.glob("state/workspaces/*/repo.git"))
            there = packs(*stores, *([home / "ws" / ".git"] if mode == "in-place" else []))
            ratios[mode].append((there / needed, there, needed))
    megabytes = files * bytes_each / 1e6
    for mode in modes:
        ratio, there, needed = max(ratios[mode])
        row(f"{deployments} deployments of {megabytes:.0f} MB in {files} files that change whole, {mode}: most disk of the repositories",
            "≤ 2 × the pack that is needed", f"{there / 1e6:.0f} MB", f"{needed / 1e6:.0f} MB", f"{ratio:.2f} ×", ratio <= 2)
        early, late = statistics.median(times[mode][1:kept]), statistics.median(times[mode][kept:])
        row("the same: a deployment's time, whole run-once, median of those after the first four (of the second to fourth)", "–",
            f"{late / 1000:.2f} s", f"{early / 1000:.2f} s", f"{late / early:.2f} ×")
