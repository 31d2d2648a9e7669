"""Reads lines of JSON as strictly as Python can, and prints how many there were."""

import json
import sys


def without_duplicates(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError(f"a key comes twice: {[name for name, _ in pairs]}")
    return members


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


count = 0
for line in sys.stdin.buffer:
    text = line.decode("utf-8", errors="strict")
    members = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse)
    if not isinstance(members, dict):
        raise ValueError(f"no object: {text}")
    count += 1
print(count)
