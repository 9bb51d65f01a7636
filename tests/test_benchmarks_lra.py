"""The comparison with LRA-diffusion, around a stand-in for its checkout."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.preprocessing import StandardScaler
from sklearn.utils import shuffle

from benchmarks import lra, lra_checkout
from benchmarks.lra import Comparison, Data
from benchmarks.lra_checkout import Trace
from sklabeldiff import DDMPClassifier

# The names, and the order of calls, that the original has; nothing is learnt.
SCRIPT = """
import time
import torch
import torchvision.transforms as transforms
import torch.utils.data as data
from tqdm import tqdm
from utils.clip_wrapper import clip_img_wrap
from model_diffusion import Diffusion


def test(diffusion_model, test_loader):
    raise AssertionError("theirs stops with an error")


def prepare_fp_x(*args, **kwargs):
    raise AssertionError("loads images in worker processes")


def train(diffusion_model, train_dataset, val_dataset, test_dataset, model_path,
          args, real_fp):
    embedded = prepare_fp_x(None, train_dataset, save_dir=None, fp_dim=fp_dim)
    loader = data.DataLoader(
        train_dataset, batch_size=batch_size, shuffle=True, num_workers=4
    )
    best = 0.0
    for epoch in range(args.nepoch):
        for i, (x, y, rows) in tqdm(enumerate(loader)):
            assert torch.equal(embedded[rows], x)
            diffusion_model.updates += 1
        if epoch % 5 == 0 and epoch >= args.warmup_epochs:
            assert test(diffusion_model, loader) <= best
"""
MODEL = """
import torch
import utils.ResNet_for_32 as resnets


class Diffusion(torch.nn.Module):
    def __init__(self, fp_encoder, n_class, fp_dim, feature_dim, device, encoder_type,
                 ddim_num_steps):
        super().__init__()
        self.model, self.n_class, self.updates = torch.nn.Identity(), n_class, 0
        self.diffusion_encoder = resnets.resnet18(num_classes=feature_dim)

    def reverse_ddim(self, x, stochastic):
        assert self.diffusion_encoder(x).shape == (len(x), 512)
        return torch.eye(self.n_class)[[self.updates // 5 % self.n_class] * len(x)]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files of the checkout that are needed."""
    (tmp_path / "utils").mkdir()
    (tmp_path / "train_CIFAR.py").write_text(SCRIPT)
    (tmp_path / "model_diffusion.py").write_text(MODEL)
    (tmp_path / "utils" / "ResNet_for_32.py").write_text("resnet18 = None\n")
    return tmp_path


@pytest.fixture
def iris() -> Data:
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    return Data(X, y, X[::2], y[::2])


def test_their_loop_runs_as_it_is_and_is_watched(checkout: Path, iris: Data) -> None:
    trace, model = lra_checkout.run(checkout, *iris, epochs=12)
    assert model.updates == 12  # one batch of 150 rows an epoch
    # Tested in epochs 5 and 10, after 6 and 11 updates, and at the end.
    assert trace.accuracy == pytest.approx([1 / 3] * 3)
    assert trace.seconds == sorted(trace.seconds)


def test_time_of_tests_is_left_out(
    checkout: Path, iris: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(lra_checkout.time, "process_time", lambda: next(clock))
    trace, _ = lra_checkout.run(checkout, *iris, epochs=12)
    # Every look at the clock takes 10: between tests one passes, within tests one.
    assert trace.seconds == [10, 20, 30]


def test_another_folder_is_told(tmp_path: Path, iris: Data) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkout of puar-playground/LRA"):
        lra_checkout.run(tmp_path, *iris, epochs=1)


def test_both_are_compared(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lra, "N_PREDICTED", 200)
    X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
    X = X.astype(np.float32)
    data = Data(X[:500], y[:500], X[500:600], y[500:600])
    found = lra.compare(checkout, data, epochs=7)
    alone = DDMPClassifier(random_state=0).fit(data.X, data.y)
    assert len(found.ours.accuracy) == alone.n_iter_ + 1  # every epoch, and the end
    assert found.ours.accuracy[-1] == alone.score(data.X_test, data.y_test) > 0.9
    assert found.ours.seconds == sorted(found.ours.seconds)
    assert min(found.their_prediction, found.our_prediction) > 0


def comparison(
    reached: float = 2.0, accuracy: float = 0.895, our_prediction: float = 0.2
) -> Comparison:
    theirs = Trace([10.0, 20.0, 30.0, 40.0], [0.5, 0.7, 0.896, 0.9])
    ours = Trace([1.0, reached, 5.0], [0.894, accuracy, accuracy])
    return Comparison(theirs, ours, 1.0, our_prediction)


def test_time_counts_to_half_a_point_below_their_last_accuracy() -> None:
    assert comparison().faster == pytest.approx(20 / 2)
    assert comparison().faster_in_all == pytest.approx(20 / 5)
    missed = comparison(accuracy=0.8949)
    assert missed.faster == missed.faster_in_all == 0
    assert Trace([10.0], [0.9]).is_below(0.9) == 0  # reached at once: no credit


@pytest.mark.parametrize(
    "changed, missed",
    [({}, 0), ({"reached": 2.1}, 1), ({"our_prediction": 0.21}, 1)],
)
def test_report_names_the_goals_that_are_missed(
    changed: dict[str, float], missed: int
) -> None:
    text = lra.table({"digits": comparison(**changed)}, "python -m benchmarks lra")
    assert text.count("**missed**") == missed
