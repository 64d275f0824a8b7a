"""The picture of the states: the faces of their convex hull, and the states of each class."""

import numpy as np
import torch

from benchmarks import models
from benchmarks.diagnostics.states_figure import find_faces, mean_states, plot_states
from benchmarks.tasks.state_tracking import StateTracking


def icosahedral_orbit():
    """The corners of a snub dodecahedron: a point turned by the 60 rotations, by quaternions."""
    golden = (1 + 5**0.5) / 2
    found = {(1.0, 0.0, 0.0, 0.0)}
    generators = [(0.5, 0.5, 0.5, 0.5), (golden / 2, 1 / (2 * golden), 0.5, 0.0)]

    def product(p, q):
        (a, b, c, d), (e, f, g, h) = p, q
        return (
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        )

    while True:
        more = {
            tuple(round(x, 6) + 0.0 for x in product(p, q)) for p in found for q in generators
        } - found
        if not more:
            break
        found |= more
    point = (0.0, 0.3748, 0.3317, 0.8657)
    turned = [product(product(q, point), (q[0], -q[1], -q[2], -q[3])) for q in found]
    return np.unique(np.round([t[1:] for t in turned], 4), axis=0)


def test_the_faces_of_a_snub_dodecahedron_are_80_triangles_and_12_pentagons():
    points = icosahedral_orbit()
    assert len(points) == 60
    sizes = [len(face) for face in find_faces(points)]
    assert sorted(sizes) == [3] * 80 + [5] * 12


def test_points_in_a_plane_have_no_faces(tmp_path):
    points = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    assert find_faces(points) == []
    plot_states(points, "a square", tmp_path / "states.png")
    assert (tmp_path / "states.png").stat().st_size > 1000


def test_mean_states_are_those_of_each_class_that_occurs():
    model = models.assemble(
        models.switched, models.Network(), hidden_size=3, input_size=6, output_size=6, tokens=True
    )
    sample = StateTracking(group="s3", length=3).draw(7, torch.Generator().manual_seed(0))
    states = model.core(sample.input)[0]
    classes = sample.target.unique()
    expected = [states[sample.target == k].mean(0) for k in classes]
    torch.testing.assert_close(
        torch.from_numpy(mean_states(model, sample)).float(), torch.stack(expected).detach()
    )
