"""The training loop: rates, averages, interruption, resuming, randomness."""

import copy
import io
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklabeldiff.core.training import (
    EMA_HORIZON,
    EpochBatches,
    Trainer,
    train_in_stages,
)

N_ROWS, BATCH = 20, 7  # 3 batches an epoch


class Regression(nn.Module):
    """Linear regression of a fixed table: a weight matrix and a bias."""

    def __init__(self, seed=0):
        super().__init__()
        gen = torch.Generator().manual_seed(seed)
        self.X = torch.randn((N_ROWS, 3), generator=gen)
        self.y = self.X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 1
        self.layer = nn.utils.skip_init(nn.Linear, 3, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def loss(self, rows, noise=0.0):
        return (self.layer(self.X[rows]) + noise - self.y[rows]).square().mean()


class Recorder:
    """A batch loss that notes rows, rate and weights as it finds them."""

    def __init__(self):
        self.rows, self.rates, self.weights = [], [], []

    def __call__(self, module, rows):
        gen = self.trainer.generator
        self.rows.append(rows)
        self.rates.append(self.trainer._net.optimizer_.param_groups[-1]["lr"])
        self.weights.append(module.layer.weight.detach().clone())
        return module.loss(rows, 0.01 * torch.randn(1, generator=gen))


def make_trainer(loss=None, *, seed=0, weight_decay=0.0, ema=0.9, planned=40):
    loss = loss or Recorder()
    trainer = Trainer(
        Regression(),
        loss,
        N_ROWS,
        torch.Generator().manual_seed(seed),
        batch_size=BATCH,
        learning_rate=0.1,
        weight_decay=weight_decay,
        ema=ema,
        planned_updates=planned,
    )
    loss.trainer = trainer
    return trainer, loss


def weights(trainer):
    return trainer.module.layer.weight.detach()


def test_training_fits_the_table():
    trainer, _ = make_trainer()
    loss = trainer.run(40)
    assert loss == trainer.losses[-1] < 0.02 * trainer.losses[0]


def test_module_that_was_asked_for_predictions_is_trained_in_training_mode():
    modes = []

    class Watching(Recorder):
        def __call__(self, module, rows):
            modes.append(module.training)
            return super().__call__(module, rows)

    trainer, _ = make_trainer(Watching())
    for _ in range(2):  # before the first epoch, and between two
        trainer.module.eval()
        trainer.run(1)
    assert modes == 6 * [True]


def test_epochs_and_updates_are_counted():
    trainer, recorder = make_trainer()
    trainer.run(2)
    trainer.run(3)
    assert (trainer.n_epochs, trainer.n_updates) == (5, 15)
    assert (len(trainer.losses), len(recorder.rows)) == (5, 15)
    assert trainer.updates_per_epoch == 3


def test_an_epoch_visits_every_row_once():
    trainer, recorder = make_trainer()
    trainer.run(2)
    for epoch in (recorder.rows[:3], recorder.rows[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(N_ROWS))
    assert not torch.equal(torch.cat(recorder.rows[:3]), torch.cat(recorder.rows[3:]))


@pytest.mark.parametrize(("n", "batch"), [(20, 7), (5, 256), (512, 256), (700, 256)])
def test_batches_have_equal_size_up_to_one_row(n, batch, generator):
    batches = EpochBatches(n, batch, generator)
    sizes = [len(rows) for rows in batches]
    assert len(sizes) == len(batches)
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1


def test_reported_loss_is_the_mean_over_the_batches():
    values = iter([1.0, 2.0, 6.0])
    trainer, _ = make_trainer(Constants(values))
    assert trainer.run(1) == pytest.approx(3.0)


class Constants(Recorder):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def __call__(self, module, rows):
        return module.layer.weight.sum() * 0 + next(self.values)


def test_equal_seeds_give_equal_weights():
    def run(seed):
        trainer, _ = make_trainer(seed=seed)
        trainer.run(3)
        return weights(trainer)

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_a_run_in_pieces_equals_a_run_in_one():
    whole, _ = make_trainer()
    parts, _ = make_trainer()
    whole.run(4)
    for _ in range(4):
        parts.run(1)
    assert torch.equal(weights(whole), weights(parts))


def test_restored_training_goes_on_bit_equal():
    trainer, _ = make_trainer(weight_decay=0.01)
    trainer.run(2)
    file = io.BytesIO()
    torch.save(trainer.state(), file)

    def finish(trainer):
        trainer.decay(2)
        trainer.run(3)
        return trainer

    file.seek(0)
    again, _ = make_trainer(weight_decay=0.01, seed=5)
    again.restore(torch.load(file, weights_only=True))
    straight, resumed = finish(trainer), finish(again)
    assert torch.equal(weights(straight), weights(resumed))
    for name, value in straight.averaged.items():
        assert torch.equal(value, resumed.averaged[name])
    assert straight.losses == resumed.losses
    assert (resumed.n_epochs, resumed.n_updates) == (5, 15)


class Interrupted(Recorder):
    def __call__(self, module, rows):
        if len(self.rows) == 4:
            raise KeyboardInterrupt
        return super().__call__(module, rows)


def test_keyboard_interrupt_inside_a_batch_is_raised_again():
    trainer, recorder = make_trainer(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        trainer.run(5)
    assert len(recorder.rows) == 4
    assert trainer.n_updates == 4  # the work so far is kept


class Failing(Recorder):
    def __call__(self, module, rows):
        raise RuntimeError("out of memory")


def test_errors_of_the_loss_come_through():
    trainer, _ = make_trainer(Failing())
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.run(1)


def test_rate_warms_up_stays_and_decays():
    trainer, recorder = make_trainer(planned=80)  # warm-up: 4 updates
    trainer.run(4)
    trainer.decay(2)
    trainer.run(3)
    warm = [0.025, 0.05, 0.075, 0.1]
    decay = [0.05 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert recorder.rates == pytest.approx(warm + [0.1] * 8 + decay + [0.0] * 3)


def test_average_by_hand():
    trainer, recorder = make_trainer(ema=0.5)
    expected = weights(trainer).clone()
    trainer.run(4)
    path = [*recorder.weights[1:], weights(trainer)]
    for n, current in enumerate(path):
        keep = min(0.5, (1 + n) / (EMA_HORIZON + n))
        expected = keep * expected + (1 - keep) * current
    assert_close(trainer.averaged["layer.weight"], expected)
    # Early updates move the average faster than the decay alone would.
    assert 1 / EMA_HORIZON < 0.5


def test_average_leaves_the_trained_weights_alone():
    with_average, _ = make_trainer(ema=0.9)
    without, _ = make_trainer(ema=0.0)
    for trainer in (with_average, without):
        trainer.run(2)
    assert torch.equal(weights(with_average), weights(without))
    assert_close(without.averaged["layer.weight"], weights(without))


def test_decay_that_is_a_function_is_taken_at_its_word():
    decays = [0.9, 0.0, 0.25, 1.0, 0.5, 0.75]
    trainer, recorder = make_trainer(ema=decays.__getitem__)
    expected = weights(trainer).clone()
    trainer.run(2)
    path = [*recorder.weights[1:], weights(trainer)]
    for keep, current in zip(decays, path, strict=True):
        expected = keep * expected + (1 - keep) * current
    assert_close(trainer.averaged["layer.weight"], expected)


def test_teacher_follows_every_update():
    trainer, _ = make_trainer(ema=0.5)
    plain, _ = make_trainer(ema=0.5)
    teacher = trainer.teacher()
    before = teacher.layer.weight.detach().clone()
    for one in (trainer, plain):
        one.run(2)
    # Having a teacher changes neither the training nor the average.
    assert torch.equal(teacher.layer.weight, plain.averaged["layer.weight"])
    assert torch.equal(weights(trainer), weights(plain))
    assert not torch.equal(teacher.layer.weight, before)
    assert not torch.equal(teacher.layer.weight, weights(trainer))


def test_state_that_was_read_onto_a_device_is_restored():
    # torch.load moves the generator's state too, which must lie on the CPU.
    class Moved:
        def __init__(self, state):
            self.state = state

        def cpu(self):
            return self.state

    trainer, _ = make_trainer()
    trainer.run(1)
    state = copy.deepcopy(trainer.state())
    again, _ = make_trainer(seed=5)
    again.restore(state | {"generator": Moved(state["generator"])})
    assert again.run(1) == trainer.run(1)


def test_teacher_is_ready_to_predict():
    trainer, _ = make_trainer()
    teacher = trainer.teacher()
    trainer.run(1)
    assert not teacher.training
    assert trainer.module.training


def test_teacher_follows_a_restored_training():
    trainer, _ = make_trainer(ema=0.5)
    trainer.run(2)
    again, _ = make_trainer(ema=0.5, seed=5)
    teacher = again.teacher()
    again.restore(copy.deepcopy(trainer.state()))
    assert torch.equal(teacher.layer.weight, trainer.averaged["layer.weight"])
    for one in (trainer, again):
        one.run(1)
    assert torch.equal(teacher.layer.weight, trainer.averaged["layer.weight"])


def test_restored_training_does_not_move_the_state_it_came_from():
    trainer, _ = make_trainer()
    trainer.run(1)
    state = copy.deepcopy(trainer.state())
    averaged = state["averaged"]["layer.weight"].clone()
    again, _ = make_trainer()
    again.restore(state)
    again.run(2)
    assert torch.equal(state["averaged"]["layer.weight"], averaged)


class Steep(Recorder):
    def __call__(self, module, rows):
        return 1e6 * super().__call__(module, rows)


def test_gradients_are_clipped():
    trainer, _ = make_trainer(Steep())
    trainer.run(1)
    gradients = [p.grad.flatten() for p in trainer.module.parameters()]
    assert torch.cat(gradients).norm().item() == pytest.approx(1.0, rel=1e-3)


class Enough(Exception):
    """Ends a training from outside."""


@pytest.mark.parametrize("n_before", [3, 16, 18])
def test_training_in_stages_resumes_bit_equal(n_before):
    # The rate decays over the last four of twenty epochs: cut before, at and in that.
    def end_early(n_epochs):
        if cut.n_epochs == n_before:
            raise Enough

    (whole, recorder), (cut, _), (again, later) = (make_trainer() for _ in range(3))
    train_in_stages(whole, 20, lambda n_epochs: None)
    with pytest.raises(Enough):
        train_in_stages(cut, 20, end_early)
    again.restore(copy.deepcopy(cut.state()))
    train_in_stages(again, 20, lambda n_epochs: None)
    assert later.rates == recorder.rates[-len(later.rates) :]
    assert len(later.rates) == (20 - n_before) * 3
    assert torch.equal(weights(again), weights(whole))


def test_stages_are_told_in_epochs():
    trainer, recorder = make_trainer()
    told = []
    train_in_stages(trainer, 50, told.append)
    assert told == [2] * 25
    assert len(recorder.rows) == 150
    assert recorder.rates[119] == 0.1 > recorder.rates[121]


class Flat(Recorder):
    def __call__(self, module, rows):
        return sum(p.sum() for p in module.parameters()) * 0


def test_weight_decay_spares_the_bias():
    trainer, _ = make_trainer(Flat(), weight_decay=0.1)
    with torch.no_grad():
        for parameter in trainer.module.parameters():
            parameter.fill_(1.0)
    trainer.run(2)
    assert torch.all(trainer.module.layer.weight < 1)
    assert torch.all(trainer.module.layer.bias == 1)


def test_global_random_states_are_untouched():
    def states():
        # The legacy generator is the global one: exactly what must not be drawn from.
        numpy_state = np.random.get_state()  # noqa: NPY002
        return (
            torch.get_rng_state().tolist(),
            numpy_state[1].tolist(),
            numpy_state[2],
            random.getstate(),
        )

    before = states()
    trainer, _ = make_trainer()
    trainer.run(2)
    assert states() == before
