"""Datasets: right pixels in disjoint splits, and one line that helps whenever a file is absent or damaged."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import itertools
import os
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from ganbench import datasets
from ganbench.datasets import Dataset, cifar10, mnist, svhn, usps
from ganbench.datasets.idx import read_idx
from ganbench.errors import UserError

SPLITS = ("train", "validation", "test")
DATA = os.environ.get("GANBENCH_DATA", "")
real = [pytest.mark.data, pytest.mark.skipif(not DATA, reason="GANBENCH_DATA names no folder of real files")]
rng = np.random.default_rng(0)


def fails(name: str, root: Path | None = None, download: bool = False) -> str:
    """Return the message of the error, which must be one line."""
    with pytest.raises(UserError) as caught:
        datasets.load(name, root, download)
    message = str(caught.value)
    assert "\n" not in message
    return message


def sizes(data: Dataset) -> list[int]:
    """Check what holds for every dataset and return the number of images of each split."""
    assert tuple(data.images) == SPLITS
    data_spec = data.data_spec
    for images in data.images.values():
        assert images.dtype == torch.uint8 and images.ndim == 4 and images.is_contiguous()
        assert images.shape[1:] == data_spec.shape == data_spec.mean.shape
    for split, labels in data.labels.items():
        assert labels.dtype == torch.int64 and labels.shape == data.images[split].shape[:1]
        assert 0 <= int(labels.min()) and int(labels.max()) < data.classes
    return [len(data.images[split]) for split in SPLITS]


def numbered(n: int, *shape: int) -> np.ndarray:
    """Return n random images, all different: the first pixels hold the number."""
    images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    images.reshape(n, -1)[:, 0], images.reshape(n, -1)[:, 1] = np.arange(n) // 256, np.arange(n) % 256
    return images


def disjoint(data: Dataset) -> bool:
    """Whether no image is in two splits."""
    seen = {split: {image.numpy().tobytes() for image in images} for split, images in data.images.items()}
    return all(not seen[one] & seen[other] for one, other in itertools.combinations(SPLITS, 2))


# --- digits and load ------------------------------------------------------------------------------------------


def test_digits_are_the_same_for_ever() -> None:
    data = datasets.load("digits")
    assert sizes(data) == [1197, 200, 400] and data.classes == 10 and data.data_spec.shape == (1, 8, 8)
    assert data.sha256 == "103d71e3db0d971b187366d8650b43d2e455ba9e73dffae5541c008d5e3f51e0"
    assert data.labels["train"][:5].tolist() == [2, 8, 2, 6, 6]
    assert int(data.images["train"].min()) == 0 and int(data.images["train"].max()) == 255
    assert torch.cat(list(data.labels.values())).bincount().tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert disjoint(data)


def test_the_mean_of_the_facts_is_that_of_the_training_images() -> None:
    data = datasets.load("digits")
    expected = data.images["train"].double().mean(0) / 255
    assert data.data_spec.mean.dtype == torch.float32
    torch.testing.assert_close(data.data_spec.mean, expected.float(), rtol=0, atol=0)


def test_unknown_names_get_suggestions() -> None:
    assert "did you mean mnist" in fails("mnits")
    assert "names no file" in fails("folder:") and "names no file" in fails("npz:")


def test_root_is_the_argument_else_the_variable_else_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "variable"))
    assert str(tmp_path / "variable" / "MNIST" / "raw") in fails("mnist")
    assert str(tmp_path / "argument" / "MNIST" / "raw") in fails("mnist", tmp_path / "argument")
    monkeypatch.setenv("GANBENCH_DATA", "")
    monkeypatch.setattr(datasets.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    assert str(tmp_path / "ganbench" / "data" / "MNIST" / "raw") in fails("mnist")


def test_torchvision_is_imported_only_when_needed() -> None:
    for file in Path(datasets.__file__).parent.glob("*.py"):
        lines = file.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("import torchvision", "from torchvision"))], file


# --- absent files and downloads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("mnist", "MNIST/raw", "train-images-idx3-ubyte[.gz]"),
        ("fashion-mnist", "FashionMNIST/raw", "t10k-labels-idx1-ubyte[.gz]"),
        ("cifar10", "cifar-10-batches-py", "data_batch_5"),
        ("svhn", "", "test_32x32.mat"),
        ("usps", "", "usps.t.bz2"),
    ],
)
def test_absent_files_are_named_with_the_folder_and_a_way_out(
    name: str, folder: str, file: str, tmp_path: Path
) -> None:
    message = fails(name, tmp_path)
    assert message.startswith(f"{name}: expected ") and file in message and f" in {tmp_path / folder}" in message
    assert "none found and downloading is off (--no-download)" in message and "--suite digits" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), RuntimeError("Error\nTried a, got:\n404"), OSError(28, "full")]
)
def test_any_failed_download_is_one_line_and_leaves_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    def download(self: MNIST) -> None:
        Path(self.root, "half").write_bytes(b"x")
        raise error

    monkeypatch.setattr(MNIST, "download", download)
    message = fails("mnist", tmp_path / "new", download=True)
    assert "download failed: " in message and "--suite digits" in message
    assert not list((tmp_path / "new").iterdir())


# --- MNIST and its format -------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """Return the idx form of a uint8 array."""
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a root with an MNIST of 30 + 10 images, whose last 10 training images are for validation."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = numbered(40, 28, 28)
    labels = np.arange(40, dtype=np.uint8) % 10
    contents = [idx(part) for part in (images[:30], labels[:30], images[30:], labels[30:])]
    for file, content in zip(mnist.FILES, contents, strict=True):
        (folder / file).write_bytes(content)
    digests = tuple(hashlib.sha256(content).hexdigest() for content in contents)
    monkeypatch.setitem(mnist.SHA256, "MNIST", digests)
    monkeypatch.setattr(mnist, "VALIDATION", 10)
    return tmp_path


def zipped(file: Path) -> Path:
    """Replace a file by its gzip."""
    target = file.with_name(f"{file.name}.gz")
    target.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    return target


def test_mnist_is_the_same_plain_zipped_and_mixed(tiny: Path) -> None:
    plain = datasets.load("mnist", tiny, False)
    assert sizes(plain) == [20, 10, 10] and disjoint(plain)
    assert plain.labels["validation"].tolist() == list(range(10))
    for file in mnist.FILES:
        zipped(tiny / "MNIST" / "raw" / file)
        assert datasets.load("mnist", tiny, False).sha256 == plain.sha256
    assert len(list((tiny / "MNIST" / "raw").iterdir())) == 4


def test_a_root_that_cannot_be_written_is_enough(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tiny.rglob("*"))
    for place in [tiny, *before]:
        place.chmod(0o555 if place.is_dir() else 0o444)
    # The superuser may write anywhere: forbid the means as well.
    monkeypatch.setattr(Path, "mkdir", lambda *args, **kwargs: pytest.fail("made a folder"))
    assert sizes(datasets.load("mnist", tiny, download=True)) == [20, 10, 10]
    assert sorted(tiny.rglob("*")) == before
    for place in [tiny, *before]:
        place.chmod(0o755 if place.is_dir() else 0o644)


def test_a_missing_file_is_fetched_and_no_other_is_touched(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    folder = tiny / "MNIST" / "raw"
    lost = (folder / mnist.FILES[3]).read_bytes()
    (folder / mnist.FILES[3]).unlink()
    assert f"{mnist.FILES[3]} not found" in fails("mnist", tiny)

    def download(self: MNIST) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        for file in mnist.FILES:
            Path(self.raw_folder, file).write_bytes(lost)

    monkeypatch.setattr(MNIST, "download", download)
    monkeypatch.setattr(MNIST, "_load_data", lambda self: (None, None))
    assert sizes(datasets.load("mnist", tiny, download=True)) == [20, 10, 10]
    assert sorted(path.name for path in tiny.rglob("*") if path.is_file()) == sorted(mnist.FILES)


def test_damaged_files_are_named_and_kept(tiny: Path) -> None:
    file = tiny / "MNIST" / "raw" / mnist.FILES[0]
    whole = file.read_bytes()
    cases = {
        whole[:-100]: f"expected {len(whole)} bytes for its shape (30, 28, 28), found {len(whole) - 100} bytes",
        whole + b"x": f"found {len(whole) + 1} bytes",
        whole[:-1] + bytes([whole[-1] ^ 1]): f"expected sha256 {mnist.SHA256['MNIST'][0]}, found ",
        b"<html>": "expected an idx file of uint8, found 6 bytes that start with 3c68746d",
        b"": "found 0 bytes that start with nothing",
        b"\0\0\x08\x03\0\0": "expected an idx file of uint8",
    }
    for content, expected in cases.items():
        file.write_bytes(content)
        message = fails("mnist", tiny, download=True)
        assert message.startswith(f"{file} is damaged: ") and expected in message
        assert file.read_bytes() == content


def test_damaged_gzips_are_named_and_kept(tiny: Path) -> None:
    file = zipped(tiny / "MNIST" / "raw" / mnist.FILES[0])
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for content in (whole[:-100], b"", b"<html>", bytes(flipped), gzip.compress(b"\0\0\x08\x01\0\0\0\x02a")):
        file.write_bytes(content)
        assert fails("mnist", tiny).startswith(f"{file} is damaged: expected ")
        assert file.read_bytes() == content


def test_idx_of_any_shape(tmp_path: Path) -> None:
    for shape in [(3,), (2, 5), (4, 2, 3)]:
        array = rng.integers(0, 256, shape, dtype=np.uint8)
        (tmp_path / "a").write_bytes(idx(array))
        np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a cannot be read: Is a directory"):
        (tmp_path / "a").mkdir()
        read_idx(tmp_path / "a")


# --- CIFAR-10, SVHN, USPS -------------------------------------------------------------------------------------


class OldDtype:
    """Pickles as a dtype does in files written by NumPy 1.0, those of CIFAR-10."""

    def __reduce__(self) -> tuple:
        return np.dtype, ("u1", 0, 1)


def test_cifar10_is_the_same_from_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "VALIDATION", 3)
    images = numbered(24, 3, 32, 32)
    labels = np.arange(24, dtype=np.uint8) % 10
    digests: dict[str, list[str]] = {cifar10.BINARY: [], cifar10.PICKLED: []}
    for i, batch in enumerate(cifar10.BATCHES):
        x, y = images[4 * i : 4 * i + 4].reshape(4, -1), labels[4 * i : 4 * i + 4]
        contents = {
            cifar10.BINARY: (f"{batch}.bin", np.concatenate([y[:, None], x], 1).tobytes()),
            cifar10.PICKLED: (batch, pickle.dumps({"data": x, "labels": y.tolist(), "old": OldDtype()}, 2)),
        }
        for folder, (file, content) in contents.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / file).write_bytes(content)
            digests[folder].append(hashlib.md5(content).hexdigest())
    file = tmp_path / cifar10.BINARY / "test_batch.bin"
    assert f"{tmp_path / cifar10.BINARY / 'data_batch_1.bin'} is damaged: expected md5" in fails(
        "cifar10", tmp_path
    )
    monkeypatch.setattr(cifar10, "MD5", digests)
    binary = datasets.load("cifar10", tmp_path, False)
    assert sizes(binary) == [17, 3, 4] and disjoint(binary)
    np.testing.assert_array_equal(torch.cat(list(binary.images.values())), images)
    np.testing.assert_array_equal(torch.cat(list(binary.labels.values())), labels)
    file.unlink()
    pickled = datasets.load("cifar10", tmp_path, False)
    assert pickled.sha256 == binary.sha256 and pickled.labels["test"].tolist() == binary.labels["test"].tolist()
    # Nothing is unpickled before its checksum is known to be right.
    (tmp_path / cifar10.PICKLED / "data_batch_1").write_bytes(b"cos\nabort\n(tR.")
    assert "data_batch_1 is damaged: expected md5" in fails("cifar10", tmp_path)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN

    monkeypatch.setattr(svhn, "VALIDATION", 5)
    pins = {}
    images = numbered(30, 3, 32, 32)
    for split, part in (("train", images[:20]), ("test", images[20:])):
        file = tmp_path / f"{split}_32x32.mat"
        savemat(file, {"X": part.transpose(2, 3, 1, 0), "y": np.arange(1, len(part) + 1)[:, None] % 10 + 1})
        pins[split] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    assert f"{tmp_path / 'train_32x32.mat'} is damaged: expected md5" in fails("svhn", tmp_path)
    monkeypatch.setattr(SVHN, "split_list", pins)
    data = datasets.load("svhn", tmp_path, False)
    assert sizes(data) == [15, 5, 10] and disjoint(data)
    np.testing.assert_array_equal(torch.cat(list(data.images.values())), images)
    assert data.labels["test"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_usps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import USPS

    monkeypatch.setattr(usps, "VALIDATION", 5)
    pins = {}
    for split, name, n in (("train", "usps.bz2", 20), ("test", "usps.t.bz2", 10)):
        rows = [f"{i % 10 + 1} " + " ".join(f"{k + 1}:{i / 10 - 1:.3f}" for k in range(256)) for i in range(n)]
        (tmp_path / name).write_bytes(bz2.compress("".join(f"{row}\n" for row in rows).encode()))
        pins[split] = ["", name, hashlib.md5((tmp_path / name).read_bytes()).hexdigest()]
    assert f"{tmp_path / 'usps.bz2'} is damaged: expected md5" in fails("usps", tmp_path)
    monkeypatch.setattr(USPS, "split_list", pins)
    data = datasets.load("usps", tmp_path, False)
    assert sizes(data) == [15, 5, 10] and data.labels["validation"].tolist() == [5, 6, 7, 8, 9]
    assert data.images["train"][10].unique().tolist() == [127] and data.data_spec.shape == (1, 16, 16)


# --- npz:PATH -------------------------------------------------------------------------------------------------


def save(path: Path, **arrays: np.ndarray) -> str:
    """Write an npz file and return its name as a dataset."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return f"npz:{path}"


def test_npz_with_the_last_tenth_for_validation(tmp_path: Path) -> None:
    x, y = numbered(60, 5, 4), np.arange(60) % 3
    name = save(tmp_path / "a.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    data = datasets.load(name)
    assert (
        data.name == f"npz:{name.rpartition('/')[2]}"
        and sizes(data) == [36, 4, 20]
        and data.classes == 3
        and disjoint(data)
    )
    np.testing.assert_array_equal(torch.cat(list(data.images.values()))[:, 0], x)
    np.testing.assert_array_equal(torch.cat(list(data.labels.values())), y)


def test_npz_with_validation_and_without_labels(tmp_path: Path) -> None:
    x = numbered(30, 5, 4)
    data = datasets.load(save(tmp_path / "a.npz", x_train=x[:15], x_validation=x[15:21], x_test=x[21:]))
    assert sizes(data) == [15, 6, 9] and data.labels == {} and data.classes == 0


@pytest.mark.parametrize("key", ["arr_0", "images"])
def test_npz_of_one_array_is_split_in_a_fixed_order(key: str, tmp_path: Path) -> None:
    x = numbered(105, 6, 5, 3)
    data = datasets.load(save(tmp_path / "a.npz", **{key: x}))
    assert sizes(data) == [85, 10, 10] and data.data_spec.shape == (3, 6, 5) and disjoint(data)
    # The order is part of every number that was ever measured on such a file.
    assert data.images["test"][:, 1, 0, 0].tolist() == [87, 36, 21, 83, 9, 101, 67, 64, 47, 44]


def test_npz_in_every_layout_and_scale(tmp_path: Path) -> None:
    x = numbered(20, 3, 6, 5)
    forms = {
        "planar": x,
        "last": x.transpose(0, 2, 3, 1),
        "unit": x.astype(np.float32) / 255,
        "byte": x.astype(np.float64) + 0.25,
        "half": (x.astype(np.float32) / 255).astype(np.float64).transpose(0, 2, 3, 1),
    }
    forms["byte"][x == 255] = 255
    for form, array in forms.items():
        data = datasets.load(save(tmp_path / f"{form}.npz", x_train=array[:10], x_test=array[10:]))
        np.testing.assert_array_equal(torch.cat(list(data.images.values())), x, err_msg=form)


def test_npz_scale_is_common_to_all_splits(tmp_path: Path) -> None:
    bright, dark = np.full((10, 4, 4), 200.0), np.ones((10, 4, 4))
    data = datasets.load(save(tmp_path / "a.npz", x_train=bright, x_test=dark))
    assert int(data.images["test"].max()) == 1
    data = datasets.load(save(tmp_path / "b.npz", x_train=np.full((10, 4, 4), 200, np.uint8), x_test=dark))
    assert int(data.images["train"].max()) == 200 and int(data.images["test"].max()) == 255


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"x_test": None}, "has no x_test: expected x_train, y_train, x_test"),
        ({"x_train": None, "x_test": None}, "has no x_train and no x_test"),
        ({"y_test": None}, "has no y_test; give labels for every split, or for none"),
        ({"x_train": np.zeros((12, 4, 4), np.int64)}, "x_train is int64; expected uint8, or floats"),
        ({"x_train": np.zeros((12, 4, 4)) - 1}, "x_train lies in [-1, -1]"),
        ({"x_train": np.full((12, 4, 4), np.nan)}, "x_train lies in [nan, nan]"),
        ({"x_train": np.zeros((0, 4, 4))}, "x_train is empty"),
        ({"x_train": np.zeros((12, 16), np.uint8)}, "x_train has shape (12, 16); expected (n, h, w)"),
        ({"x_train": np.zeros((12, 5, 4, 7), np.uint8)}, "x_train has shape (12, 5, 4, 7)"),
        ({"x_test": np.zeros((12, 5, 5), np.uint8)}, "the splits differ in shape (x_train 1x4x4, x_test 1x5x5)"),
        ({"y_train": np.zeros(11, np.int64)}, "expected 12 integers from 0"),
        ({"y_train": np.zeros(12)}, "y_train is float64 of shape (12,)"),
        ({"y_train": np.zeros(12, np.int64) - 1}, "from -1; expected 12 integers from 0"),
        ({"x_train": np.array([{}])}, "allow_pickle=False"),
    ],
)
def test_npz_errors_name_the_file_and_the_key(change: dict, expected: str, tmp_path: Path) -> None:
    x, y = np.zeros((12, 4, 4), np.uint8), np.zeros(12, np.int64)
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y} | change
    name = save(tmp_path / "a.npz", **{key: array for key, array in arrays.items() if array is not None})
    message = fails(name)
    assert message.startswith(str(tmp_path / "a.npz")) and expected in message


def test_npz_that_is_absent_damaged_or_too_small(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    assert f"{file} does not exist" in fails(f"npz:{file}")
    name = save(file, arr_0=numbered(50, 8, 8))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for content in (whole[:-50], b"", b"hello", bytes(flipped)):
        file.write_bytes(content)
        assert fails(name).startswith(f"{file} is not a whole .npz file")
    np.save(tmp_path / "b.npy", numbered(50, 8, 8))
    assert "is not a whole .npz file" in fails(f"npz:{tmp_path / 'b.npy'}")
    assert "arr_0 holds 9 images" in fails(save(file, arr_0=numbered(9, 8, 8)))
    assert "x_train holds 1 image" in fails(save(file, x_train=numbered(1, 8, 8), x_test=numbered(1, 8, 8)))


# --- folder:PATH ----------------------------------------------------------------------------------------------


def paint(path: Path, value: int, mode: str = "L", size: tuple[int, int] = (5, 4)) -> None:
    """Write an image of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value,) * len(mode) if mode in ("RGB", "RGBA") else value).save(path)


def test_folder_is_one_pool_that_keeps_its_splits_when_files_are_added(tmp_path: Path) -> None:
    for i in range(60):
        paint(tmp_path / f"{i % 3}" / f"{i}.{'PNG' if i % 2 else 'png'}", i)
    paint(tmp_path / ".thumb.png", 255)
    (tmp_path / "notes.txt").write_text("not an image")
    before = datasets.load(f"folder:{tmp_path}")
    assert (
        sum(sizes(before)) == 60
        and before.data_spec.shape == (1, 4, 5)
        and before.labels == {}
        and disjoint(before)
    )
    assert len(before.images["train"]) > 40
    for i in range(60, 100):
        paint(tmp_path / f"{i}.png", i)
    after = datasets.load(f"folder:{tmp_path}")
    assert sum(sizes(after)) == 100
    for split in SPLITS:
        values = set(after.images[split][:, 0, 0, 0].tolist())
        assert set(before.images[split][:, 0, 0, 0].tolist()) <= values
    assert datasets.load(f"folder:{tmp_path}").sha256 == after.sha256


@pytest.mark.parametrize("third", ["validation", "val", ""])
def test_folder_with_splits_and_classes(third: str, tmp_path: Path) -> None:
    for split in filter(None, ("train", third, "test")):
        for i in range(30):
            paint(tmp_path / split / "ba"[i % 2] / f"{i:02}.png", 20 * (i % 2) + len(split), "RGB")
    data = datasets.load(f"folder:{tmp_path}")
    total = sizes(data)
    assert total == [30, 30, 30] if third else (total[0] + total[1] == 30 and total[1] and total[2] == 30)
    assert data.classes == 2 and data.data_spec.shape == (3, 4, 5)
    for split in SPLITS:
        # "b" is painted darker than "a".
        assert torch.equal(data.labels[split] == 0, data.images[split][:, 0, 0, 0] >= 20)
    paint(tmp_path / "train" / "flat.png", 0)
    assert datasets.load(f"folder:{tmp_path}").labels == {}


def test_folder_is_grey_only_if_all_are(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        paint(tmp_path / split / "a.png", 7)
    assert datasets.load(f"folder:{tmp_path}").data_spec.shape == (1, 4, 5)
    paint(tmp_path / "test" / "b.png", 9, "RGBA")
    data = datasets.load(f"folder:{tmp_path}")
    assert data.data_spec.shape == (3, 4, 5) and data.images["train"].unique().tolist() == [7]


def test_folder_errors_name_the_file(tmp_path: Path) -> None:
    name = f"folder:{tmp_path}"
    assert f"{tmp_path / 'none'} is not a folder" in fails(f"{name}/none")
    assert "gives no train image (0 in all)" in fails(name)
    for i in range(60):
        paint(tmp_path / f"{i:02}.png", i)
    paint(tmp_path / "x.png", 1, size=(6, 4))
    paint(tmp_path / "y.png", 1, size=(7, 4))
    message = fails(name)
    assert message.startswith(f"{tmp_path / 'x.png'} is 6x4, but ") and "is 5x4; crop or resize" in message
    paint(tmp_path / "x.png", 300, "I;16")
    assert fails(name).startswith(f"{tmp_path / 'x.png'} has more than 8 bits")
    paint(tmp_path / "y.png", 1)
    whole = (tmp_path / "00.png").read_bytes()
    for content in (b"", b"hello", whole[:45], whole[:-20]):
        (tmp_path / "x.png").write_bytes(content)
        assert fails(name).startswith(f"{tmp_path / 'x.png'} cannot be read as an image: ")
    paint(tmp_path / "test" / "a.png", 1)
    assert "has the sub-folder test; expected both train and test" in fails(name)


# --- the real files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mean", "first"),
    [
        pytest.param("mnist", 0.1310, [5, 0, 4, 1, 9], marks=real),
        pytest.param("fashion-mnist", 0.2855, [9, 0, 0, 3, 0], marks=real),
    ],
)
def test_real_mnist(name: str, mean: float, first: list[int]) -> None:
    data = datasets.load(name, download=False)
    assert sizes(data) == [50_000, 10_000, 10_000] and data.data_spec.shape == (1, 28, 28) and data.classes == 10
    assert data.labels["train"][:5].tolist() == first
    assert float(data.data_spec.mean.double().mean()) == pytest.approx(mean, abs=1e-4)


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="GANBENCH_DATA names no folder of real files")
def test_real_mnist_has_no_image_in_two_splits() -> None:
    assert disjoint(datasets.load("mnist", download=False))


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="GANBENCH_DATA names no folder of real files")
def test_real_usps_from_npz() -> None:
    data = datasets.load(f"npz:{DATA}/usps.npz")
    assert sizes(data) == [6562, 729, 2007] and data.data_spec.shape == (1, 16, 16) and data.classes == 10
