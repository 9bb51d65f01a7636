"""The training of CAD: pairs, versions, teacher, queue, and what each term does."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core import alignment
from sklabeldiff.core.alignment import alignment_loss, alignment_weights
from sklabeldiff.core.candidate_losses import adjusted_loss, dirk_loss, dirk_target
from sklabeldiff.core.class_gates import contribution_gate, gated
from sklabeldiff.core.class_specific_training import (
    ClassSpecificTraining,
    Objective,
    Versions,
)
from sklabeldiff.core.row_views import Distortion, RowViews
from sklabeldiff.core.training import Trainer
from sklabeldiff.core.two_headed import TwoHeaded, row_trunk

C = 3


def views_by(**added):
    """Views that add a constant, by which they can be told."""

    def view(name):
        return lambda x, generator: x + added.get(name, 0.0)

    names = ("classified", "weak", "strong")
    return SimpleNamespace(**{n: view(n) for n in names}, plain=lambda x: x)


STILL = views_by()  # losses can be worked out by hand


def make(blobs, *, views=None, versions=None, batch_size=30, momentum=0.9, **goal):
    """A training on the blobs, not yet run."""
    gen = torch.Generator().manual_seed(0)
    network = TwoHeaded(row_trunk(2, [8], gen), 8, C, gen)
    goal = {"beta": 1.5, "tau": 0.12, "tau_w": 0.1, "warmup_epochs": 1} | goal
    loss = goal.pop("candidate_loss", adjusted_loss)

    def make_trainer(batch_loss):
        return Trainer(
            network,
            batch_loss,
            len(blobs.X),
            torch.Generator().manual_seed(1),
            batch_size=batch_size,
            learning_rate=1e-2,
            weight_decay=0.0,
            ema=lambda _: momentum,
            planned_updates=100,
        )

    return ClassSpecificTraining(
        blobs.X,
        blobs.Y.float(),
        views or RowViews(blobs.X),
        Objective(loss, **goal),
        versions or Versions(),
        64,
        make_trainer,
    )


def weights_of(training):
    return torch.cat([w.flatten() for w in training.trainer.parameters])


@pytest.fixture
def rows(blobs):
    return torch.arange(0, len(blobs.X), 2)


class TestPairs:
    def test_all_candidates_row_by_row(self, blobs, rows):
        training = make(blobs)
        i, s, pair = training.pairs(training.V[rows], rows)
        where = blobs.Y[rows].nonzero()
        assert torch.equal(torch.stack([i, s], dim=1), where)
        # Numbers count the candidates of all rows, those left out too.
        every = blobs.Y.nonzero()
        assert torch.equal(every[pair], torch.stack([rows[i], s], dim=1))

    def test_so_many_candidates_are_drawn_as_asked_for(self, blobs, rows):
        training = make(blobs, versions=Versions(max_versions=2))
        full = torch.ones_like(training.V[rows])
        full[:3, 1:] = 0
        i, s, _ = training.pairs(full, rows)
        assert i.bincount().tolist() == [1] * 3 + [2] * (len(rows) - 3)
        assert len(torch.stack([i, s]).unique(dim=1).T) == len(i)

    def test_some_candidates_are_drawn_of_rows_with_more(self, blobs, rows):
        training = make(blobs, versions=Versions(max_versions=1))
        every = blobs.Y.nonzero()
        drawn = [training.pairs(training.V[rows], rows) for _ in range(40)]
        for i, s, pair in drawn:
            assert torch.equal(i, torch.arange(len(rows)))
            assert torch.equal(every[pair], torch.stack([rows[i], s], dim=1))
        # Over many updates each candidate of a row has its turn.
        seen = torch.zeros(len(rows), C, dtype=torch.bool)
        for i, s, _ in drawn:
            seen[i, s] = True
        assert torch.equal(seen, blobs.Y[rows])


class TestVersions:
    def versions(self, training, rows, epochs_before=2):
        training.trainer.n_epochs = epochs_before
        i, s, pair = training.pairs(training.V[rows], rows)
        return training.make_versions(training.x[rows], i, s, pair), i, s, pair

    def test_they_are_the_rows_where_nothing_makes_them(self, blobs, rows):
        made, i, *_ = self.versions(make(blobs), rows)
        assert torch.equal(made, blobs.X[rows][i])

    def test_ready_ones_are_found_by_their_number(self, blobs, rows):
        ready = torch.rand((int(blobs.Y.sum()), 2))
        made, *_ = self.versions(make(blobs, versions=Versions(ready=ready)), rows)
        row_of_version = blobs.Y.nonzero()[:, 0]
        assert torch.equal(made, ready[torch.isin(row_of_version, rows)])

    def test_gates_are_those_of_the_teacher_as_it_predicts(self, blobs, rows):
        training = make(blobs, versions=Versions(contribution_gate), eps=0.2)
        training.run(2, lambda n: None)
        made, i, s, _ = self.versions(training, rows)
        assert training.teacher.training  # its batch norms go on gathering
        x = blobs.X[rows]
        a = contribution_gate(training.teacher.eval(), x, i, s, blobs.X.mean(0))
        assert_close(made, gated(x[i], a, 0.2, blobs.X.mean(0)))
        assert not torch.equal(made, x[i])

    def test_shut_entries_of_images_are_the_mean_of_their_channel(self, blobs):
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((len(blobs.X), 3, 4, 5), generator=generator)
        shut = Versions(lambda network, x, i, s, centre: torch.zeros_like(x[i]))
        data = SimpleNamespace(X=images, Y=blobs.Y)
        training = make(data, views=STILL, versions=shut, eps=0.0)
        made, *_ = self.versions(training, torch.arange(4))
        wanted = images.mean((0, 2, 3))[None, :, None, None]
        assert_close(made, wanted.expand_as(made))

    def test_no_gate_before_the_teacher_knows_anything(self, blobs, rows):
        training = make(blobs, versions=Versions(contribution_gate))
        made, i, *_ = self.versions(training, rows, epochs_before=0)
        assert torch.equal(made, blobs.X[rows][i])


class TestLoss:
    """One batch, worked out by hand from the pieces."""

    def batch_loss(self, training, rows):
        training.trainer.module.eval()  # the statistics of its batch norms stand still
        training.teacher.eval()
        training.teacher.train = lambda mode=True: training.teacher  # and stay so
        return training.batch_loss(training.trainer.module, rows)

    def test_sum_of_both_parts(self, blobs, rows):
        training = make(blobs, views=STILL, warmup_epochs=0, beta=0.7)
        loss = self.batch_loss(training, rows)
        student, teacher = training.trainer.module, training.teacher
        x, V = blobs.X[rows], blobs.Y[rows].float()
        i, s = blobs.Y[rows].nonzero(as_tuple=True)
        q, v, d = student.features(x[i]), teacher.features(x[i]), teacher(x[i])
        positive = (s[:, None] == s.repeat(2)).fill_diagonal_(False)
        w = alignment_weights(d, d.repeat(2, 1), positive, 0.1)
        L_con = alignment_loss(q, torch.cat([q, v]), w, 0.12)
        L_dis = adjusted_loss(student(x), teacher(x), V).mean()
        assert_close(loss, L_dis + 0.7 * L_con.mean())

    def test_each_view_is_made_for_its_use(self, blobs, rows):
        views = views_by(classified=0.3, weak=1.0, strong=-2.0)
        training = make(blobs, views=views, warmup_epochs=0, beta=0.7)
        loss = self.batch_loss(training, rows)
        student, teacher = training.trainer.module, training.teacher
        x, V = blobs.X[rows], blobs.Y[rows].float()
        i, s = blobs.Y[rows].nonzero(as_tuple=True)
        q, v = student.features(x[i] - 2.0), teacher.features(x[i] + 1.0)
        d = teacher(x[i] + 0.3)
        positive = (s[:, None] == s.repeat(2)).fill_diagonal_(False)
        w = alignment_weights(d, d.repeat(2, 1), positive, 0.1)
        L_con = alignment_loss(q, torch.cat([q, v]), w, 0.12)
        L_dis = adjusted_loss(student(x + 0.3), teacher(x + 0.3), V).mean()
        assert_close(loss, L_dis + 0.7 * L_con.mean())

    def test_rows_count_alike_where_asked(self, blobs, rows):
        training = make(blobs, views=STILL, warmup_epochs=0, beta=0.7, per_row=True)
        loss = torch.tensor([1.0, 5.0, 3.0])
        i = torch.tensor([0, 1, 1])
        assert training.average(loss, i, 2) == 2.5
        assert make(blobs).average(loss, i, 2) == 3.0
        assert self.batch_loss(training, rows).isfinite()

    def test_keys_of_earlier_batches_are_compared_with(self, blobs, rows):
        training = make(blobs, views=STILL, warmup_epochs=0)
        self.batch_loss(training, rows + 1)
        assert len(training.queue) == min(64, int(blobs.Y[rows + 1].sum()))
        old = copied(training.queue.state())["parts"]
        loss = self.batch_loss(training, rows)
        student, teacher = training.trainer.module, training.teacher
        x, V = blobs.X[rows], blobs.Y[rows].float()
        i, s = blobs.Y[rows].nonzero(as_tuple=True)
        q, v, d = student.features(x[i]), teacher.features(x[i]), teacher(x[i])
        labels = torch.cat([s, s, old[2][: len(training.queue)]])
        positive = (s[:, None] == labels).fill_diagonal_(False)
        w = alignment_weights(d, torch.cat([d, d, old[1]]), positive, 0.1)
        L_con = alignment_loss(q, torch.cat([q, v, old[0]]), w, 0.12).mean()
        L_dis = adjusted_loss(student(x), teacher(x), V).mean()
        assert_close(loss, L_dis + 1.5 * L_con)

    def test_warm_up_tells_every_version_from_the_queue(self, blobs, rows):
        training = make(blobs, views=STILL, beta=0.7)
        student, teacher = training.trainer.module, training.teacher
        self.batch_loss(training, rows)
        queue = training.queue.keys().v.clone()
        loss = self.batch_loss(training, rows)
        x, V = blobs.X[rows], blobs.Y[rows].float()
        i, _ = blobs.Y[rows].nonzero(as_tuple=True)
        q, v = student.features(x[i]), teacher.features(x[i])
        L_con = alignment.instance_loss(q, v, queue, 0.12).mean()
        L_dis = adjusted_loss(student(x), teacher(x), V).mean()
        assert_close(loss, L_dis + 0.7 * L_con)

    def test_rows_of_one_target_whose_sets_meet_are_pulled_together(self, blobs, rows):
        training = make(
            blobs,
            views=views_by(classified=0.3, weak=1.0, strong=-2.0),
            candidate_loss=dirk_loss,
            warmup_epochs=0,
            reliable=True,
        )
        self.batch_loss(training, rows + 1)
        k, r, g, U = (p[:45] for p in copied(training.queue.state())["parts"])
        loss = self.batch_loss(training, rows)
        student, teacher = training.trainer.module, training.teacher
        x, V = blobs.X[rows], blobs.Y[rows].float()
        t = dirk_target(teacher(x + 0.3), V)
        t_all = torch.cat([t, t, r])
        labels = torch.cat([t.argmax(1), t.argmax(1), g])
        meets = V @ torch.cat([V, V, U]).T > 0
        positive = (meets & (t.argmax(1)[:, None] == labels)).fill_diagonal_(False)
        q, v = student.features(x - 2.0), teacher.features(x + 1.0)
        w = alignment_weights(t, t_all, positive, 0.1)
        L_con = alignment_loss(q, torch.cat([q, v, k]), w, 0.12).mean()
        L_dis = dirk_loss(student(x + 0.3), teacher(x + 0.3), V).mean()
        assert_close(loss, L_dis + 1.5 * L_con)

    def test_teacher_learns_nothing_by_gradients(self, blobs, rows):
        training = make(blobs, warmup_epochs=0)
        training.batch_loss(training.trainer.module, rows).backward()
        assert all(w.grad is None for w in training.teacher.parameters())
        assert all(w.grad is not None for w in training.trainer.module.parameters())


def test_features_have_unit_length(blobs):
    network = make(blobs).trainer.module
    lengths = network.features(blobs.X).norm(dim=1)
    assert_close(lengths, torch.ones(len(blobs.X)))


class TestTeacher:  # check 7
    def test_it_begins_as_the_student(self, blobs):
        training = make(blobs)
        student = dict(training.trainer.module.named_parameters())
        for name, weight in training.teacher.named_parameters():
            assert torch.equal(weight, student[name])

    def test_it_forgets_at_the_stated_rate(self, blobs):
        training = make(blobs, momentum=0.9)
        teacher, student = training.teacher, training.trainer.module
        with torch.no_grad():
            for weight in teacher.parameters():
                weight.add_(1.0)
        old = [w.clone() for w in teacher.parameters()]
        for _ in range(7):
            training.trainer.update_average()
        for first, now, goal in zip(
            old, teacher.parameters(), student.parameters(), strict=True
        ):
            assert_close(now, 0.9**7 * first + (1 - 0.9**7) * goal)

    def test_its_batch_norms_gather_by_themselves(self, blobs, rows):
        training = make(blobs)
        before = training.teacher.trunk[1].running_mean.clone()
        training.trainer.module.train()(blobs.X)  # those of the student move
        training.trainer.update_average()
        assert torch.equal(training.teacher.trunk[1].running_mean, before)
        training.batch_loss(training.trainer.module, rows)
        assert not torch.equal(training.teacher.trunk[1].running_mean, before)


class TestRuns:
    def test_without_contrast_nothing_of_it_matters(self, blobs):  # check 8
        ready = torch.rand((int(blobs.Y.sum()), 2))
        runs = [
            make(blobs, beta=0.0),
            make(blobs, beta=0.0, tau=0.3, versions=Versions(contribution_gate)),
            make(blobs, beta=0.0, versions=Versions(ready=ready, max_versions=1)),
        ]
        for training in runs:
            training.run(4, lambda n: None)
            assert len(training.queue) == 0
        first, *others = [weights_of(training) for training in runs]
        assert all(torch.equal(first, other) for other in others)
        with_contrast = make(blobs)
        with_contrast.run(4, lambda n: None)
        assert not torch.equal(first, weights_of(with_contrast))

    def test_open_gates_are_no_gates(self, blobs):  # check 8
        runs = [make(blobs, versions=Versions(contribution_gate), eps=1), make(blobs)]
        for training in runs:
            training.run(4, lambda n: None)
        assert torch.equal(*(weights_of(training) for training in runs))
        gates = make(blobs, versions=Versions(contribution_gate))
        gates.run(4, lambda n: None)
        assert not torch.equal(weights_of(gates), weights_of(runs[0]))

    def test_copies_made_before_are_no_versions(self, blobs):  # check 13
        copies = blobs.X[blobs.Y.nonzero()[:, 0]]
        runs = [make(blobs, versions=Versions(ready=copies)), make(blobs)]
        for training in runs:
            training.run(4, lambda n: None)
        assert torch.equal(*(weights_of(training) for training in runs))

    def test_it_goes_on_from_its_state_bit_for_bit(self, blobs):
        whole = make(blobs, versions=Versions(contribution_gate))
        states = []

        def keep(n_epochs):
            if whole.trainer.n_epochs == 3:
                states.append(copied(whole.state()))

        whole.run(10, keep)
        resumed = make(blobs, versions=Versions(contribution_gate))
        resumed.restore(states[0])
        resumed.run(10, lambda n: None)
        assert torch.equal(weights_of(resumed), weights_of(whole))
        assert torch.equal(resumed.queue.keys().v, whole.queue.keys().v)

    def test_it_resolves_the_blobs(self, blobs):
        training = make(blobs, versions=Versions(contribution_gate))
        training.run(30, lambda n: None)
        a = training.predictor()(blobs.X)
        assert (a.argmax(1) == blobs.y).float().mean() > 0.97


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(v) for v in value)
    return value


class TestViews:
    def test_noise_and_dropped_entries_are_as_stated(self, generator):
        x = torch.full((2000, 50), 3.0)
        views = Distortion(0.1, 0.2, torch.tensor(7.0), torch.tensor(2.0))(x, generator)
        assert (views == 7).float().mean() == pytest.approx(0.2, abs=0.01)
        kept = views[views != 7]
        assert kept.mean().item() == pytest.approx(3, abs=0.01)
        assert kept.std().item() == pytest.approx(0.2, abs=0.01)

    def test_strengths_are_those_of_the_page(self, generator):
        views = RowViews(torch.randn((50, 4), generator=generator))
        strengths = [
            (view.noise, view.dropped)
            for view in (views.classified, views.weak, views.strong)
        ]
        assert strengths == [(0.05, 0.10), (0.05, 0.05), (0.10, 0.20)]

    def test_unit_of_the_columns_does_not_matter(self, generator):
        x = torch.randn((500, 4), generator=generator)
        unit = torch.tensor([1.0, 10.0, 100.0, 0.1])
        views = [
            RowViews(rows).strong(rows, torch.Generator().manual_seed(3))
            for rows in (x, x * unit + 5)
        ]
        assert_close((views[1] - 5) / unit, views[0], rtol=1e-3, atol=1e-3)
