# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes for every parser of outside bytes: typed errors only, no crash, no hang.

Run: python benchmarks/fuzz.py --inputs 1000000 [--record]

Inputs are right ones, changed: bits, bytes, numbers, JSON tokens, cuts, repeats and mixtures; one in twenty is noise.
They follow from the seed alone, and times are those of the processor: a busy machine is no hang. Exit code 1 if a
parser raised what it must not, or took longer than the limit; the first such input of each is printed in hexadecimal.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from fuzz_targets import TARGETS, Target, file_of

LIMIT_S = 2.0
_ROUND = 12000
_TOKENS = (
    *b'null true false 0 -1 1e999 -1e999 1e-999 NaN Infinity [] {} [[]] "" "x" [1,2] 65536 4294967296'.split(),
    *b"18446744073709551616 -9223372036854775809 0.5 1.5 2 255".split(),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b'"' + b"x" * 3000 + b'"'),
    *(b"\xff\xfe", b"\0", b'"\\ud800"'),
)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


class TooLong(BaseException):
    """A parser that did not come back within the limit."""


def mutated(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """One hostile input."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(600))
    data = bytearray(rng.choice(seeds))
    # Mostly a single change: what is broken in several places is refused at the first.
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        rng.choice(_MUTATIONS)(rng, data)
    return bytes(data)


def _place(rng: random.Random, data: bytearray) -> int:
    return rng.randrange(len(data) + 1)


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray) -> None:
    at, size = _place(rng, data), rng.choice((1, 2, 4, 8))
    number = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    data[at : at + size] = number.to_bytes(size, "little" if rng.random() < 0.7 else "big")


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _drop(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    del data[at : at + rng.randrange(1, 40)]


def _repeat(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at:at] = data[at : at + rng.randrange(1, 60)] * rng.randrange(1, 4)


def _noise(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at : at + rng.randrange(20)] = rng.randbytes(rng.randrange(20))


def _token(rng: random.Random, data: bytearray) -> None:
    """Put a token in the place of a JSON value, or anywhere in what is no JSON."""
    token = rng.choice(_TOKENS)
    starts = [found.end() for found in re.finditer(rb"[:\[,]", data)]
    at = rng.choice(starts) if starts else _place(rng, data)
    ends = re.compile(rb"[],}\n]").search(data, at)
    data[at : ends.start() if starts and ends else at] = token


_MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _overwrite,
    _cut,
    _drop,
    _repeat,
    _noise,
    *[_token] * 4,
)


def attack(name: str, target: Target, count: int, seed: int) -> dict[str, Any]:
    """Run one parser on `count` inputs.

    Returns:
        ``inputs``, how many were ``accepted``, refused by kind of error, and ``failures`` with the first one's input
        and traceback; ``slowest_ms`` of one input and ``seconds`` of all.
    """
    rng = random.Random(f"{seed} {name}")
    outcomes: Counter[str] = Counter()
    failures = 0
    first: dict[str, str] | None = None
    slowest, begun = 0.0, time.process_time()
    for data in (*target.seeds, *(mutated(rng, target.seeds) for _ in range(count - len(target.seeds)))):
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            target.run(data)
            outcomes["accepted"] += 1
        except target.allowed as error:
            outcomes[type(error).__name__] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failures += 1
            if first is None:
                first = {
                    "input": data[:4000].hex(),
                    "error": "".join(traceback.format_exception(error))[-3000:],
                }
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)
    return {
        "inputs": count,
        "outcomes": dict(outcomes.most_common()),
        "failures": failures,
        "first_failure": first,
        "slowest_ms": round(slowest * 1e3, 2),
        "seconds": round(time.process_time() - begun, 2),
    }


def run(count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Every parser in turn, with an equal share of the inputs."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"no answer within {LIMIT_S} s")

    old = signal.signal(signal.SIGPROF, late)
    logging.disable(logging.CRITICAL)
    # Numbers as wide as the float range are part of the game; NumPy's remarks on them are not.
    try:
        with np.errstate(all="ignore"):
            share = max(count // len(TARGETS), 1)
            return {name: attack(name, target, share, seed) for name, target in TARGETS.items()}
    finally:
        signal.signal(signal.SIGPROF, old)
        logging.disable(logging.NOTSET)
        file_of(b"").unlink()


def rounds(count: int, seed: int, seconds: float) -> dict[str, dict[str, Any]]:
    """`run` again and again with new seeds, until there were `count` inputs or the time is over."""
    end = time.monotonic() + seconds
    total: dict[str, dict[str, Any]] = {}
    done = 0
    while done < count and (not total or time.monotonic() < end):
        for name, found in run(min(_ROUND, count - done), seed).items():
            done += found["inputs"]
            total[name] = _sum(total[name], found) if name in total else found
        seed += 1
    return total


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    outcomes = Counter(one["outcomes"]) + Counter(other["outcomes"])
    return {
        "inputs": one["inputs"] + other["inputs"],
        "outcomes": dict(outcomes.most_common()),
        "failures": one["failures"] + other["failures"],
        "first_failure": one["first_failure"] or other["first_failure"],
        "slowest_ms": max(one["slowest_ms"], other["slowest_ms"]),
        "seconds": round(one["seconds"] + other["seconds"], 2),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="also write benchmarks/results/fuzz.json")
    args = parser.parse_args()
    started = time.monotonic()
    parsers = rounds(args.inputs, args.seed, args.seconds)
    result = {
        "inputs_asked": args.inputs,
        "inputs": sum(each["inputs"] for each in parsers.values()),
        "failures": sum(each["failures"] for each in parsers.values()),
        "first_seed": args.seed,
        "seconds": round(time.monotonic() - started, 1),
        "parsers": parsers,
    }
    print(json.dumps(result, indent=1))
    if args.record:
        from record import write_result

        write_result("fuzz", result)
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
