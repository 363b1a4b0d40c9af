"""Whether two answers about one row are the same."""

import json
from decimal import Decimal

SLACK = 2  # seconds


def parse(line):
    return json.loads(line, parse_float=Decimal)


def equal(truth, ours):
    """The same to the last digit: 1.0 is not 1.00."""
    if isinstance(truth, dict) and isinstance(ours, dict):
        return truth.keys() == ours.keys() and all(equal(truth[key], ours[key]) for key in truth)
    if isinstance(truth, list) and isinstance(ours, list):
        return len(truth) == len(ours) and all(map(equal, truth, ours))
    return type(truth) is type(ours) and truth == ours and str(truth) == str(ours)


def as_doubles(value):
    if isinstance(value, dict):
        return {as_doubles(key): as_doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def ends(ttl, base):
    return [ends(item, base) for item in ttl] if isinstance(ttl, list) else None if ttl is None else base + ttl


def close(truth, ours, slack):
    if isinstance(truth, list) and isinstance(ours, list):
        return len(truth) == len(ours) and all(close(*pair, slack) for pair in zip(truth, ours))
    if truth is None or ours is None:
        return truth is ours
    return not isinstance(ours, list) and abs(truth - ours) <= slack


def differences(truth, ours, meta, cut, slack=SLACK):
    """The names of what differs in one row. The truth's seconds to live count from some moment of its reading. Our seconds to live count from `cut`, give or take `slack`."""
    slack += meta.get("times_took", 0)
    for name in truth.keys() | {name for name in ours if not name.startswith(("writetime(", "ttl("))}:
        if name not in ours or name not in truth:
            yield name
        elif name.startswith("ttl("):
            if not close(ends(truth[name], meta["times_read"]), ends(ours[name], cut), slack):
                yield name
        elif name in meta["doubles"]:
            if as_doubles(truth[name]) != as_doubles(ours[name]):
                yield name
        elif name in meta["compared_by_value"]:
            if truth[name] != ours[name]:
                yield name
        elif not equal(truth[name], ours[name]):
            yield name
