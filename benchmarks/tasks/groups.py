"""Groups as permutations, and the automata whose tokens multiply or overwrite a state."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

GroupName = Literal["parity", "z7", "z60", "s3", "a4", "a5", "s5", "flip_flop"]
Alphabet = Literal["all", "generators", "transpositions"]
Permutation = tuple[int, ...]  # p[i] is where the point i goes

_CYCLIC = {"parity": 2, "z7": 7, "z60": 60}
_SYMMETRIC = {"s3": 3, "s5": 5}
_ALTERNATING = {"a4": 4, "a5": 5}
# cycles of the points from 1 on, as they are written; the identity comes before them
_GENERATORS = {
    "s3": (((1, 2),), ((1, 2, 3),)),
    "a4": (((1, 2, 3),), ((1, 2), (3, 4))),
    "a5": (((1, 2, 3),), ((1, 2, 3, 4, 5),)),
    "s5": (((1, 2),), ((1, 2, 3, 4, 5),)),
}


class Automaton(NamedTuple):
    """What each token does to each state; the first state is the start.

    Attributes:
        name: of its group and alphabet, for a person.
        table: the next state, int64 ``(tokens, states)``.
    """

    name: str
    table: Tensor

    @property
    def tokens(self) -> int:
        """Different tokens."""
        return self.table.shape[0]

    @property
    def states(self) -> int:
        """Different states."""
        return self.table.shape[1]


def group_elements(group: str) -> list[Permutation]:
    """The elements of a group as permutations, the identity first.

    Raises:
        ValueError: for a name that is no group's.
    """
    if group in _CYCLIC:
        n = _CYCLIC[group]
        return [tuple((i + k) % n for i in range(n)) for k in range(n)]
    if group in _SYMMETRIC:
        return list(itertools.permutations(range(_SYMMETRIC[group])))
    if group in _ALTERNATING:
        return [p for p in itertools.permutations(range(_ALTERNATING[group])) if is_even(p)]
    groups = [name for name in get_args(GroupName) if name != "flip_flop"]
    raise ValueError(f"group must be one of {groups}, got {group!r}")


def multiplication_table(elements: list[Permutation]) -> Tensor:
    """``table[a, b]``, the place among the elements of ``a b``, b first: int64 ``(n, n)``."""
    points = np.array(elements)
    place = {p: k for k, p in enumerate(elements)}
    products = points[:, points]  # [a, b, i] is a[b[i]]
    rows = products.reshape(-1, points.shape[1]).tolist()
    return torch.tensor([place[tuple(row)] for row in rows]).view(len(elements), len(elements))


def is_even(p: Permutation) -> bool:
    """Whether a permutation is a product of an even number of transpositions."""
    inversions = sum(a > b for a, b in itertools.combinations(p, 2))
    return inversions % 2 == 0


def alphabet_elements(group: str, alphabet: str) -> list[Permutation]:
    """The elements that are tokens: all, the identity and two generators, or all transpositions.

    Raises:
        ValueError: for transpositions of a group that they do not make, and of parity, whose only
            one would say nothing.
    """
    elements = group_elements(group)
    if alphabet == "all":
        return elements
    if alphabet == "transpositions":
        if group not in _SYMMETRIC:
            raise ValueError(
                f"alphabet='transpositions' needs a group of {sorted(_SYMMETRIC)}, got {group!r}"
            )
        return [p for p in elements if sum(i != image for i, image in enumerate(p)) == 2]
    if group in _CYCLIC:
        return elements[:2]
    return [elements[0], *(_from_cycles(c, len(elements[0])) for c in _GENERATORS[group])]


@lru_cache(maxsize=16)
def make_automaton(group: GroupName, alphabet: Alphabet = "all") -> Automaton:
    """The automaton ``s_t = x_t s_{t-1}`` of a group, or the flip-flop.

    The states of the flip-flop are a bit, its tokens hold, write 0 and write 1: the elements of a
    monoid, and its generators at once.

    Raises:
        ValueError: for a group without such an alphabet.
    """
    if group == "flip_flop":
        if alphabet == "transpositions":
            raise ValueError("alphabet must be 'all' or 'generators' for the flip-flop")
        return Automaton("flip-flop", torch.tensor([[0, 1], [0, 0], [1, 1]]))
    elements = group_elements(group)
    tokens = alphabet_elements(group, alphabet)
    rows = torch.tensor([elements.index(p) for p in tokens])
    name = "parity" if group == "parity" else f"{group[0].upper()}_{group[1:]}"
    what = "all elements" if alphabet == "all" else alphabet
    return Automaton(f"{name}, {what}", multiplication_table(elements)[rows])


def _from_cycles(cycles: tuple[tuple[int, ...], ...], points: int) -> Permutation:
    images = list(range(points))
    for cycle in cycles:
        for a, b in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            images[a - 1] = b - 1
    return tuple(images)
