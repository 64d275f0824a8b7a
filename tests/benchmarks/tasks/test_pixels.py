import math

import pytest
import torch

from benchmarks.data.images import Images, load_images
from benchmarks.tasks.pixels import Pixels


def images(count=10, length=6, classes=3):
    pixels = torch.arange(count * length).view(count, length) / (count * length)
    part = (pixels.float(), torch.arange(count) % classes)
    return Images("stripes", tuple("abc"[:classes]), part, part, part)


def test_pixels_come_one_at_a_time():
    data = images()
    (batch,) = Pixels(data).held_out("validation", 10, None)
    assert batch.input.shape == (6, 10, 1)
    assert torch.equal(batch.input[:, 3, 0], data.validation[0][3])
    assert torch.equal(batch.target, data.validation[1])
    assert not batch.carries_state


def test_an_epoch_shows_every_image_at_most_once_in_an_order_of_its_own():
    task = Pixels(images(count=11))
    assert task.steps_per_epoch(3) == 3

    def epoch(k, seed=0):
        generator = torch.Generator().manual_seed(seed)
        batches = [task.training(3, step, generator) for step in range(3 * k, 3 * k + 3)]
        return torch.cat([b.input[0, :, 0] for b in batches]).tolist()

    assert len(set(epoch(0))) == 9
    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=1)


def test_held_out_images_keep_their_order_to_the_last():
    task = Pixels(images(count=11))
    batches = list(task.held_out("test", 4, None))
    assert [len(b.target) for b in batches] == [4, 4, 3]
    assert torch.cat([b.target for b in batches]).tolist() == task.data.test[1].tolist()
    assert len(list(task.held_out("test", 4, 2))) == 2


def test_more_images_than_there_are_is_refused():
    with pytest.raises(ValueError, match="batch_size=11 is more than the 10 training images"):
        Pixels(images()).steps_per_epoch(11)
    assert Pixels(images()).steps_per_epoch(10) == 1


def test_baseline_is_near_chance_for_digits_and_lower_where_the_last_pixel_tells():
    assert 0.8 * math.log(10) < Pixels(load_images("digits")).baseline < math.log(10)
    labels = torch.arange(300) % 3
    telling = (torch.stack([torch.rand(300), labels / 2], 1).float(), labels)
    task = Pixels(Images("telling", tuple("abc"), telling, telling, telling))
    assert task.baseline == pytest.approx(-math.log((100 + 1 / 3) / (100 + 1)), rel=0.01)


def test_accuracy_is_the_share_of_right_names():
    output = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert Pixels(images()).score(output, torch.tensor([1, 0, 1, 0])) == {"accuracy": 0.75}
