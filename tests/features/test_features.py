"""Extractors: the shipped weights are what they claim, and features depend on nothing but the image."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.features import classifiers, extract, inception, train
from ganbench.registry import extractors

SHIPPED = ("lenet-mnist-v1", "lenet-fashion-v1", "mlp-digits-v1")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: on busy cores the threads of small networks mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n: int, *shape: int) -> Tensor:
    """Return n noise images, the same at each call."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(7))


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    """Return the message of a user error, which is a single line."""
    message = str(error.value)
    assert "\n" not in message
    return message


def test_all_extractors_are_found_by_name() -> None:
    assert {*SHIPPED, "pixels", "inception-2015", "inception-2015-bf16"} <= set(extractors.names())


def test_import_is_light() -> None:
    code = (
        "import sys, ganbench.registry as r; r.extractors.names();"
        "print(*({'torchvision', 'pytorch_fid', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_small_and_pinned(name: str) -> None:
    content = (classifiers.WEIGHTS / f"{name}.safetensors").read_bytes()
    assert len(content) < 2**20
    assert hashlib.sha256(content).hexdigest() == extractors.get(name).sha256


@pytest.mark.parametrize(
    "name, dataset, least",
    [
        ("mlp-digits-v1", "digits", 0.975),
        pytest.param("lenet-mnist-v1", "mnist", 0.993, marks=[pytest.mark.data, pytest.mark.nightly]),
        pytest.param("lenet-fashion-v1", "fashion-mnist", 0.92, marks=[pytest.mark.data, pytest.mark.nightly]),
    ],
)
def test_accuracy_on_the_test_split(name: str, dataset: str, least: float) -> None:
    if dataset != "digits" and not os.environ.get("GANBENCH_DATA"):
        pytest.skip("GANBENCH_DATA is unset: the real test images are not there")
    data = datasets.load(dataset, download=False)
    test, labels = data.images["test"], data.labels["test"]
    assert len(test) == len(labels) == (400 if dataset == "digits" else 10_000)
    found = train.accuracy(extractors.get(name).load(), test, labels)
    assert found >= least
    assert f"{100 * found:.2f} %" in extractors.get(name).summary


@pytest.mark.parametrize("name", [*SHIPPED, "pixels"])
def test_batch_size_does_not_matter(name: str) -> None:
    extractor = extractors.get(name)
    network, x = extractor.load(), images(1030, *(extractor.shape or (3, 8, 8)))
    features, logits = extract(network, x, batch=64)
    assert features.dtype == torch.float64 and len(features) == 1030 and features.abs().sum() > 0
    assert (logits is None) == (name == "pixels")
    for batch, n in ((7, 105), (1000, 1030)):
        again, scores = extract(network, x[:n], batch)
        assert (again - features[:n]).abs().max() < 1e-9
        if logits is not None and scores is not None:
            assert logits.dtype == torch.float64 and logits.shape == (1030, 10) and logits.std() > 0.1
            assert (scores - logits[:n]).abs().max() < 1e-9


def test_pixels_are_the_pixels() -> None:
    x = images(5, 3, 4, 4)
    features, logits = extract(extractors.get("pixels").load(), x)
    assert logits is None and torch.equal(features, x.double().reshape(5, 48))


def test_extract_uses_eval_mode_and_restores_the_precision_switches() -> None:
    class Spy(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            seen.append((self.training, torch.is_grad_enabled(), torch.backends.cuda.matmul.fp32_precision))
            return x.flatten(1), None

    seen: list[tuple[bool, bool, str]] = []
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        extract(Spy().train(), images(3, 1, 2, 2), batch=2)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert seen == [(False, False, "ieee")] * 2


def test_damaged_and_missing_weights_are_user_errors(tmp_path: Path) -> None:
    extractor, build = extractors.get("mlp-digits-v1"), train.RECIPES["mlp-digits-v1"].build
    content = (classifiers.WEIGHTS / "mlp-digits-v1.safetensors").read_bytes()
    file = tmp_path / "copy.safetensors"
    file.write_bytes(content)
    assert isinstance(classifiers.load_classifier(file, extractor.sha256, build), nn.Module)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError) as error:
        classifiers.load_classifier(file, extractor.sha256, build)
    assert extractor.sha256[:12] in one_line(error) and "copy.safetensors" in one_line(error)
    with pytest.raises(UserError) as error:
        classifiers.load_classifier(tmp_path / "absent.safetensors", extractor.sha256, build)
    assert "absent.safetensors" in one_line(error)


def test_training_script_stores_what_it_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = train.RECIPES["mlp-digits-v1"]
    short = train.Recipe(recipe.dataset, recipe.build, 3, recipe.batch, recipe.rate, recipe.augment)
    monkeypatch.setitem(train.RECIPES, "mlp-digits-v1", short)
    monkeypatch.setattr(sys, "argv", ["train", "mlp-digits-v1", "--out", str(tmp_path)])
    train.main()
    report = capsys.readouterr().out
    [file] = tmp_path.iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in report
    assert "test accuracy 0." in report


def test_augmentation_moves_images_and_keeps_their_range() -> None:
    x, generator = images(64, 1, 28, 28), torch.Generator().manual_seed(0)
    for recipe in train.RECIPES.values():
        y = recipe.augment(x, generator)
        assert y.shape == x.shape and 0 <= y.min() and y.max() <= 1 + 1e-6 and not torch.equal(y, x)
    dot = torch.zeros(64, 1, 28, 28)
    dot[:, :, 14, 14] = 1
    shifted = train.affine(0, 0, 2, whole=True)(dot, generator)
    assert torch.allclose(shifted.amax((1, 2, 3)), torch.ones(64), atol=1e-4)
    at = shifted.flatten(1).argmax(1)
    assert {(int(i) // 28 - 14) for i in at} == {(int(i) % 28 - 14) for i in at} == {-2, -1, 0, 1, 2}


def test_inception_agrees_with_pytorch_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_fid import inception as original

    with monkeypatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # leave the network as built: random weights, no download
        patch.setattr(original, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_: None)
        state = original.fid_inception_v3().state_dict()
    file = tmp_path / "random.pth"
    torch.save(state, file)
    monkeypatch.setenv(inception.VARIABLE, str(file))
    with pytest.raises(UserError) as error:
        inception.load_inception()
    assert inception.SHA256[:12] in one_line(error) and "random.pth" in one_line(error)

    network = inception.load_inception(hashlib.sha256(file.read_bytes()).hexdigest()[:8])
    monkeypatch.setattr(original, "load_state_dict_from_url", lambda *_, **__: torch.load(file))
    theirs = original.InceptionV3().eval()
    x = images(4, 3, 32, 32)
    features, logits = extract(network, x, batch=4)
    with torch.no_grad():
        expected = theirs(x)[0].flatten(1)
    assert features.shape == (4, 2048) and expected.std() > 0
    assert (features - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())
    assert logits is not None
    assert torch.allclose(logits, (expected @ state["fc.weight"].T).double(), rtol=1e-4, atol=1e-5)
    # another precision, another metric: close, and never the same numbers
    fast = inception.load_inception(hashlib.sha256(file.read_bytes()).hexdigest(), torch.bfloat16)
    rounded, scores = extract(fast, x, batch=4)
    distance = (rounded - features).abs().max() / features.abs().max()
    assert 1e-4 < distance < 2e-2 and rounded.dtype == torch.float64 and scores is not None
    again, _ = extract(network, x, batch=3)
    assert (again - features).abs().max() <= 1e-5 * features.abs().max()
    grey = x[:1, :1]
    assert torch.equal(extract(network, grey)[0], extract(network, grey.expand(-1, 3, -1, -1))[0])


def test_absent_inception_weights_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no\nnetwork")

    monkeypatch.delenv(inception.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UserError) as error:
        inception.load_inception()
    folder = tmp_path / "hub" / "checkpoints"
    assert all(part in one_line(error) for part in (inception.FILE, str(folder), inception.VARIABLE))
    assert list(folder.iterdir()) == []

    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "nowhere.pth"))
    with pytest.raises(UserError) as error:
        inception.load_inception()
    assert inception.VARIABLE in one_line(error) and "nowhere.pth" in one_line(error)


def test_ceiling_does_not_depend_on_the_batch_size() -> None:
    """FID, Inception Score and PRDC of training against test digits, with features from three batch sizes."""
    from ganbench.metrics.frechet import frechet_distance
    from ganbench.metrics.inception_score import inception_scores
    from ganbench.metrics.neighbours import neighbours

    data = datasets.load("digits")
    network = extractors.get("mlp-digits-v1").load()
    results = []
    for batch in (7, 64, 1000):
        (train, logits), (test, _) = (
            extract(network, data.images[split].double() / 255, batch) for split in ("train", "test")
        )
        assert logits is not None and train.dtype == torch.float64 and float(train.std()) > 0
        scores = inception_scores(logits, 10)
        prdc = [float(part.mean()) for part in neighbours(test, train[: len(test)])]
        values = [frechet_distance(test, train), float(scores.mean()), *prdc]
        results.append(torch.tensor(values, dtype=torch.float64))
    assert results[0].isfinite().all() and (results[0] > 0).all()
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=1e-9)
