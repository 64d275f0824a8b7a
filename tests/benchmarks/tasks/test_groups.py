"""Groups as permutations: their axioms, their orders, and the alphabets that generate them."""

import itertools

import pytest
import torch

from benchmarks.tasks.groups import (
    alphabet_elements,
    group_elements,
    is_even,
    make_automaton,
    multiplication_table,
)

ORDERS = {"parity": 2, "z7": 7, "z60": 60, "s3": 6, "a4": 12, "a5": 60, "s5": 120}
GENERATED = [(group, "generators") for group in sorted(ORDERS)]
GENERATED += [("s3", "transpositions"), ("s5", "transpositions")]
every = pytest.mark.parametrize("group", sorted(ORDERS))


def table_of(group):
    return multiplication_table(group_elements(group))


@every
def test_a_group_has_its_order_and_the_identity_first(group):
    elements = group_elements(group)
    assert len(set(elements)) == len(elements) == ORDERS[group]
    assert elements[0] == tuple(range(len(elements[0])))


@every
def test_multiplication_is_associative_with_identity_and_inverses(group):
    table = table_of(group)
    everything = torch.arange(len(table))
    assert torch.equal(table[0], everything)
    assert torch.equal(table[:, 0], everything)
    assert torch.equal(table[table], table[:, table])
    assert (table == 0).sum(0).tolist() == (table == 0).sum(1).tolist() == [1] * len(table)


@every
def test_each_token_permutes_the_states(group):
    table = table_of(group)
    assert torch.equal(table.sort(1).values, torch.arange(len(table)).expand_as(table))


@every
def test_the_right_factor_acts_first(group):
    elements, table = group_elements(group), table_of(group)
    for a, b in itertools.islice(itertools.product(range(len(elements)), repeat=2), 500):
        assert elements[table[a, b]] == tuple(elements[a][i] for i in elements[b])


@pytest.mark.parametrize("group", ["s3", "s5"])
def test_parity_is_a_homomorphism_and_half_of_a_symmetric_group_is_even(group):
    table = table_of(group)
    odd = torch.tensor([not is_even(p) for p in group_elements(group)])
    assert torch.equal(odd[table], odd[:, None] ^ odd)
    assert odd.sum() == len(odd) / 2


@pytest.mark.parametrize(("group", "abelian"), [("z60", True), ("s3", False), ("a5", False)])
def test_which_groups_commute(group, abelian):
    table = table_of(group)
    assert torch.equal(table, table.T) is abelian


@pytest.mark.parametrize(("group", "alphabet"), GENERATED)
def test_an_alphabet_generates_its_group(group, alphabet):
    table = make_automaton(group, alphabet).table
    reached = {0}
    for _ in range(len(table[0])):
        reached |= {int(table[token, state]) for token in range(len(table)) for state in reached}
    assert len(reached) == ORDERS[group]


def test_the_generators_of_s5_are_those_of_the_literature():
    e, swap, cycle = alphabet_elements("s5", "generators")
    assert (e, swap, cycle) == ((0, 1, 2, 3, 4), (1, 0, 2, 3, 4), (1, 2, 3, 4, 0))


@pytest.mark.parametrize(("group", "count"), [("s3", 3), ("s5", 10)])
def test_transpositions_are_odd_and_their_own_inverses(group, count):
    table = make_automaton(group, "transpositions").table
    tokens = alphabet_elements(group, "transpositions")
    assert len(tokens) == count
    assert not any(map(is_even, tokens))
    twice = torch.stack([row[row] for row in table])
    assert torch.equal(twice, torch.arange(table.shape[1]).expand_as(twice))


@pytest.mark.parametrize("group", ["parity", "z7", "z60", "a4", "a5"])
def test_transpositions_of_another_group_are_refused(group):
    with pytest.raises(ValueError, match=r"needs a group of \['s3', 's5'\], got"):
        make_automaton(group, "transpositions")


def test_the_flip_flop_holds_and_writes():
    table = make_automaton("flip_flop").table
    assert table.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert torch.equal(table, make_automaton("flip_flop", "generators").table)
    with pytest.raises(ValueError, match="for the flip-flop"):
        make_automaton("flip_flop", "transpositions")


def test_an_unknown_group_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"group must be one of .*'s5'.* got 'm11'"):
        group_elements("m11")
