"""Two tiers of tests: what is dear is marked as slow, and left out unless it is asked for."""

from collections import defaultdict

import pytest


def mark_slow(items):
    """Mark the cases of ``sampled`` and ``each_value_once`` tests that the fast tier leaves out."""
    cases = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    for alike in cases.values():
        fast = alike
        if sampled := alike[0].get_closest_marker("sampled"):
            fast = alike[:: sampled.args[0]]
        elif alike[0].get_closest_marker("each_value_once"):
            fast = cover(alike)
        for item in alike:
            if item not in fast:
                item.add_marker(pytest.mark.slow)


def cover(cases):
    """As few cases, greedily chosen, as show every value of every argument."""
    values = {case: {(k, id(v)) for k, v in case.callspec.params.items()} for case in cases}
    missing, chosen = set().union(*values.values()), []
    while missing:
        chosen.append(max(cases, key=lambda case: len(values[case] & missing)))
        missing -= values[chosen[-1]]
    return chosen
