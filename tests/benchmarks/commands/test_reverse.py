"""Running states backward: exact for few steps of what is invertible, and wrong input refused."""

import pytest

from benchmarks import reverse


@pytest.mark.parametrize("name", sorted(reverse.INVERSES))
def test_the_first_step_back_finds_the_state_before(name):
    assert reverse.errors(name, 5, 6, [1])[1] < 1e-3


def test_the_linear_recurrence_stays_near_and_tanh_does_not():
    assert reverse.errors("identity", 300, 20, [300])[300] < 1e-3
    assert not reverse.errors("tanh", 300, 20, [300])[300] < 1


def test_the_table_has_a_row_for_each(capsys):
    assert reverse.main(["--steps", "20", "--hidden", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["steps", "back", "10", "20"]
    assert [line.split()[0] for line in lines[1:]] == list(reverse.INVERSES)


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--hidden", "-1"]])
def test_sizes_below_one_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        reverse.main(wrong)
    assert "must be at least 1" in capsys.readouterr().err
