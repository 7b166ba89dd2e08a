"""Timing of commands side by side."""

import os
import statistics
import subprocess
import sys
import time

ROUNDS = int(os.environ.get("ROUNDS", "0"))


def say(text):
    print(text, file=sys.stderr, flush=True)


def seconds(command, **options):
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - begun


def writing(out, command):
    """A function that runs `command`, which writes `out`, and returns its seconds. Before, untimed,
    `out` is removed and everything else flushed, so that no run pays for the one before."""

    def run():
        out.unlink(missing_ok=True)
        os.sync()
        return seconds(command, stderr=subprocess.DEVNULL)

    return run


def alternate(ours, peer, rounds=ROUNDS or 3):
    """The best time of each of two functions that return seconds."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return min(p[0] for p in pairs), min(p[1] for p in pairs)


def medians(*runs, rounds=ROUNDS or 5):
    """The median time of each of some functions that return seconds and run by turns."""
    taken = [[run() for run in runs] for _ in range(rounds)]
    return [statistics.median(times) for times in zip(*taken)]
