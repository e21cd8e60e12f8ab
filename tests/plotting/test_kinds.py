"""Pictures of what runs learned: which image stands where, what lies between, and for what there is no picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganbench import datasets
from ganbench.datasets import Dataset
from ganbench.distributions.noise import Noise, Normal, Uniform
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.plotting import panels
from ganbench.plotting.canvas import Panel, gif, place, sheet
from ganbench.plotting.kinds import KINDS, draw_kind, draw_run, first_seeds, obstacle
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite
from ganbench.training.loop import train


class Toy(Game):
    """Images of 4 x 4 whose code is their pixels; a sample is the noise, pixel by pixel, divided by 8."""

    laws: Mapping[str, Noise] = {"z": Normal(16)}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)

    def noise(self) -> dict[str, Noise]:
        return dict(self.laws)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        numbers = torch.cat([noise[name] for name in self.laws], 1) / 8
        return torch.nn.functional.pad(numbers, (0, 16 - numbers.shape[1])).reshape(-1, 1, 4, 4)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, 1, 4, 4)


class Levels(Toy):
    """Grey images in four clusters by their level."""

    laws = {"z": Uniform(1)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return (noise["z"] * 2 - 1)[:, :, None, None].expand(-1, 1, 4, 4)

    def cluster(self, x: Tensor) -> Tensor:
        level = (x.flatten(1).mean(1, keepdim=True) + 1) / 2
        centres = torch.tensor([0.1, 0.3, 0.5, 5.0])  # nothing is near the last one
        return (-100 * (level - centres).square()).log_softmax(1)


class Told(Toy):
    """Conditional game whose reconstructions show the class."""

    supervision = "conditional"

    def reconstruct(self, x: Tensor, y: Tensor) -> Tensor:
        return (y / 5 * 2 - 1)[:, None, None, None].expand(-1, 1, 4, 4)


class Film(Toy):
    """Sequences that stand still at the level that the noise says; a transfer is half of that and half of x."""

    laws = {"h": Uniform(1)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.extrapolate(noise, 3)

    def extrapolate(self, noise: Mapping[str, Tensor], frames: int) -> Tensor:
        return (noise["h"] * 2 - 1)[:, :, None, None, None].expand(-1, frames, 1, 4, 4)

    def transfer(self, x: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return (x + self.sample(noise)) / 2


SPEC = RunSpec("s", 1, "quick", "toys", "toy", {}, {}, seed=0, rounds=1500, batch=10, ema=0.0, samples=100)


def toys(frames: int = 0) -> Dataset:
    """Return grey images of levels 51 + 20 y + noise in four classes, or sequences of such frames."""
    generator = torch.Generator().manual_seed(3)
    labels = {split: torch.arange(40) % 4 for split in ("train", "validation", "test")}
    shape = (40, *([frames] if frames else []), 1, 4, 4)
    images = {}
    for split, y in labels.items():
        dirt = torch.randint(20, shape, generator=generator)
        images[split] = (51 + 20 * y.reshape(-1, *[1] * (len(shape) - 1)) + dirt).to(torch.uint8)
    return Dataset("toys", images, labels, classes=4)


def metric_inputs(
    game: type[Game], frames: int = 0, spec: RunSpec = SPEC, data: Dataset | None = None
) -> RunInputs:
    """Return what can be asked about a game that needs no training."""
    data = data or toys(frames)
    return RunInputs(game(data.data_spec, Config()).eval(), spec, RealData(data))


def test_tiles_stand_where_place_says() -> None:
    tiles = (torch.arange(6).reshape(2, 3, 1, 1, 1) * 40 / 255).expand(2, 3, 1, 5, 7)
    blocks = [Panel(tiles, "one", ("a", "a long word"), ("x", "y")), Panel(tiles.expand(2, 3, 3, 5, 7), "two")]
    page = sheet(blocks)
    assert sheet(blocks[:1]).mode == "L" and page.mode == "RGB"
    top = 0
    for block in blocks:
        left, down, zoom = place(block)
        assert zoom == 4  # 7 pixels with their frame become 28
        pixels = np.asarray(page)[top + down :, left:, 0]
        for row in range(2):
            for column in range(3):
                y, x = row * 7 * zoom, column * 9 * zoom
                tile = pixels[y : y + 5 * zoom, x : x + 7 * zoom]
                assert tile.shape == (20, 28) and (tile == 40 * (3 * row + column)).all()
                assert pixels[y + 5 * zoom, x] == 64  # the frame
        top += sheet([block]).height
    assert top == page.height


def test_an_arc_keeps_norms_and_its_ends() -> None:
    share = torch.linspace(0, 1, 7, dtype=torch.float64)
    a, b = torch.randn(2, 5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a, b = (3 * v / v.norm(dim=1, keepdim=True) for v in (a, b))
    path = panels.slerp(a, b, share)
    assert torch.equal(path[:, 0], a) and torch.equal(path[:, -1], b)
    assert torch.allclose(path.norm(dim=2), torch.full((5, 7), 3.0, dtype=torch.float64), atol=1e-12)
    steps = torch.nn.functional.cosine_similarity(path[:, 1:], path[:, :-1], dim=2).acos()
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-7)  # equal angles
    quarter = panels.slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([0.5]))
    assert torch.allclose(quarter, torch.tensor([[[0.5**0.5, 2 * 0.5**0.5]]]))
    for other in (a, -a, 2 * a):  # no arc is defined
        straight = torch.lerp(a[:, None], other[:, None], share[:, None])
        assert torch.allclose(panels.slerp(a, other, share), straight)


def test_interpolations_go_from_one_test_image_to_another() -> None:
    run = metric_inputs(Toy)
    [block] = panels.interpolations(run)
    real = run.real("test")
    for column, first in ((0, 0), (1, 0), (-2, 8), (-1, 8)):
        assert torch.allclose(block.tiles[:, column], real[first : first + 8], atol=1e-6)
    assert block.title.startswith("spherical") and block.tiles.shape[:2] == (8, 11)
    halves = panels.interpolations(metric_inputs(Levels))
    assert halves[0].title.startswith("linear")
    assert torch.allclose(halves[0].tiles[:, 5], (real[:8] + real[8:16]) / 2, atol=1e-6)


def test_rows_hold_what_the_models_own_cluster_says() -> None:
    run = metric_inputs(Levels)
    [block] = panels.clusters(run)
    assert block.tiles.shape == (4, 11, 1, 4, 4) and list(block.rows) == ["0", "1", "2", "3"]
    levels = block.tiles.mean((2, 3, 4))
    bounds = [(0, 0.2), (0.2, 0.4), (0.4, 1)]
    for (low, high), row in zip(bounds, levels[:, 1:], strict=False):
        assert ((row > low) & (row < high)).all()
    fake = run.fake(1000)
    first = fake[(fake.mean((1, 2, 3)) < 0.2).nonzero()[:10, 0]]
    assert torch.equal(block.tiles[0, 1:], first)  # the first ones, none chosen
    known = run.call("cluster", "test")
    for k in (1, 2):
        others = torch.where(torch.arange(4) == k, -torch.inf, known).logsumexp(1)
        assert torch.equal(block.tiles[k, 0], run.real("test")[(known[:, k] - others).argmax()])
    assert (levels[0, 0] == panels.FRAME) and (block.tiles[3] == panels.FRAME).all()  # empty


class Codes(Toy):
    laws = {"z": Normal(9), "c": Uniform(2, low=-1.0), "k": Uniform(1), "mask": Normal(3, training_only=True)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        assert "mask" not in noise
        numbers = torch.cat([noise["k"], noise["c"], noise["z"]], 1) / 8
        return torch.nn.functional.pad(numbers, (0, 4)).reshape(-1, 1, 4, 4)


def test_columns_are_quantiles_of_one_number_and_rows_hold_the_others() -> None:
    blocks = panels.traversal(metric_inputs(Codes))
    assert [block.title.removesuffix(" varied") for block in blocks] == ["k", "c 1", "c 2"]
    middles = torch.linspace(0.05, 0.95, 10)
    expected = (middles, 2 * middles - 1, 2 * middles - 1)
    for number, (block, values) in enumerate(zip(blocks, expected, strict=True)):
        numbers = (block.tiles * 2 - 1).flatten(2) * 8  # (rows, columns, number)
        assert torch.allclose(numbers[:, :, number], values.expand(5, 10), atol=1e-5)
        others = [i for i in range(12) if i != number]
        assert torch.allclose(numbers[:, :, others], numbers[:, :1, others].expand(-1, 10, -1), atol=1e-5)
        assert (numbers[0, 0, others] - numbers[1, 0, others]).abs().min() > 1e-4
        assert block.columns[0] == "5%" and block.columns[-1] == "95%"
    [first, *_] = panels.traversal(metric_inputs(Toy))
    normal = torch.special.ndtri(middles.double()).float()
    assert torch.allclose((first.tiles[0, :, 0, 0, 0] * 2 - 1) * 8, normal, atol=1e-5)


def test_quantiles_are_those_of_draws() -> None:
    p = torch.tensor([0.05, 0.5, 0.9], dtype=torch.float64)
    for law in (Normal(4), Uniform(4, low=-3.0, high=5.0)):
        drawn = law.fill(torch.empty(100_000), torch.Generator().manual_seed(0)).double()
        assert torch.allclose(torch.quantile(drawn, p), law.quantile(p), atol=0.05)
        edges, masses = law.cells(16)
        assert torch.allclose(law.quantile(masses.cumsum(0)[:-1])[4:12], edges[1:-1][4:12])


class Plane(Toy):
    laws = {"z": Normal(2)}


def test_a_manifold_is_the_grid_of_quantiles() -> None:
    [block] = panels.manifold(metric_inputs(Plane))
    assert block.tiles.shape[:2] == (20, 20)
    numbers = (block.tiles * 2 - 1).flatten(2)[:, :, :2] * 8
    quantiles = torch.special.ndtri((torch.arange(20, dtype=torch.float64) + 0.5) / 20).float()
    assert torch.allclose(numbers[:, :, 0], quantiles[:, None].expand(20, 20), atol=1e-5)
    assert torch.allclose(numbers[:, :, 1], quantiles.expand(20, 20), atol=1e-5)
    assert "not two numbers" in obstacle("manifold", metric_inputs(Toy))


def test_arithmetic_is_exact_where_codes_are_pixels() -> None:
    run = metric_inputs(Toy)
    [block] = panels.arithmetic(run)
    images, y = run.real("validation"), run.labels("validation")
    means = [images[y == k].mean(0) for k in range(4)]
    assert list(block.rows) == ["0 - 1 + 2", "1 - 2 + 3", "2 - 3 + 0", "3 - 0 + 1"]
    for row in range(4):
        a, b, c = (means[(row + shift) % 4] for shift in range(3))
        for tile, expected in zip(block.tiles[row], (a, b, c, a - b + c), strict=True):
            assert torch.allclose(tile, expected, atol=1e-6)
    bare = Dataset("bare", toys().images)
    assert "bare has no labels" == obstacle("arithmetic", metric_inputs(Toy, data=bare))


def test_conditional_games_are_told_the_classes() -> None:
    run = metric_inputs(Told)
    [block] = panels.reconstructions(run)
    assert block.tiles.shape == (8, 10, 1, 4, 4)
    assert torch.equal(block.tiles[:, ::2].flatten(0, 1), run.real("test", 40))
    shown = block.tiles[:, 1::2].flatten(0, 1).mean((1, 2, 3))
    assert torch.allclose(shown, run.labels("test")[:40] / 5)


class Classes(Codes):
    supervision = "conditional"


def test_a_category_has_a_column_for_each_of_its_values() -> None:
    run = metric_inputs(Classes)
    first, second, _ = panels.traversal(run)
    assert first.tiles.shape[:2] == (5, 4) and second.tiles.shape[:2] == (5, 10)
    shown = (first.tiles[0, :, 0, 0, 0] * 2 - 1) * 8
    assert (shown * 4).long().tolist() == [0, 1, 2, 3]  # the classes that uniform numbers stand for


def test_sequences_stand_in_rows() -> None:
    run = metric_inputs(Film, frames=3)
    [block] = panels.analogy(run)
    content, motion, both = (block.tiles[i::3] for i in range(3))
    assert list(block.rows[:3]) == ["content", "motion", "both"] and list(block.columns) == ["1", "2", "3"]
    assert torch.equal(motion, run.real("test", 4))
    assert torch.allclose(both, (content + motion) / 2, atol=1e-6)
    [strip] = panels.strips(run)
    assert strip.tiles.shape == (8, 3, 1, 4, 4) and torch.equal(strip.tiles[:4], content)
    assert "toys has no single images" == obstacle("clusters", run)
    assert "toys has no sequences of frames" == obstacle("strips", metric_inputs(Toy))


def test_a_film_has_all_frames_even_if_nothing_moves(tmp_path: Path) -> None:
    run = metric_inputs(Film, frames=3)
    assert draw_run(run, tmp_path, "extrapolation") == [tmp_path / f"extrapolation.{s}" for s in ("png", "gif")]
    with Image.open(tmp_path / "extrapolation.gif") as film:
        assert film.n_frames == 200
    [block] = panels.extrapolation(run)
    assert block.tiles.shape[:2] == (8, 20)
    times = "1 2 3 4 47 48 49 50 97 98 99 100 147 148 149 150 197 198 199 200"
    assert list(block.columns) == times.split()
    with pytest.raises(UserError, match="strips cannot be drawn as a film"):
        draw_kind("strips", [run], tmp_path / "strips.gif")


class Broken(Toy):
    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) / 0


def test_what_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^toy cannot draw clusters: it has no cluster$"):
        draw_kind("clusters", [metric_inputs(Levels), metric_inputs(Toy)], tmp_path / "f.png")
    with pytest.raises(UserError, match="toy generates NaN or infinite pixels"):
        draw_kind("interpolations", [metric_inputs(Broken)], tmp_path / "f.png")
    assert not list(tmp_path.iterdir())
    assert {kind for kind in KINDS if not obstacle(kind, metric_inputs(Levels))} == {
        "clusters",
        "interpolations",
        "traversal",
        "arithmetic",
    }


def test_the_command_draws_all_that_runs_have(runs: Path, ganbench: Callable) -> None:
    answer = ganbench("plot", runs)
    assert answer.code == 0, answer.err
    assert answer.err.count("left out: real-train on digits has nothing to draw") == 2
    made = {Path(line).relative_to(runs.resolve()) for line in answer.out.split("\n") if line}
    assert {path.name for path in made if path.parts[1] == "gan"} == {"traversal.png"}
    kinds = {"reconstructions.png", "interpolations.png", "traversal.png", "arithmetic.png"}
    assert {path.name for path in made if path.parts[1] == "vae"} == kinds
    assert len(made) == 2 * (1 + 4)
    before = {path: (runs / path).read_bytes() for path in made}
    assert ganbench("plot", runs).code == 0
    assert before == {path: (runs / path).read_bytes() for path in made}


def test_the_command_draws_the_first_seeds_in_one_figure(runs: Path, tmp_path: Path, ganbench: Callable) -> None:
    def height(models: str) -> int:
        file = tmp_path / f"{models}.png"
        answer = ganbench("plot", runs, "--kind", "traversal", "--out", file, "--models", models)
        assert (answer.code, answer.out.strip()) == (0, str(file)), answer.err
        with Image.open(file) as image:
            return image.height

    assert height("vae,gan") == height("vae") + height("gan")
    both, vae, gan = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("vae,gan", "vae", "gan"))
    assert np.array_equal(both[: len(vae), : vae.shape[1]], vae)
    assert np.array_equal(both[len(vae) :, : gan.shape[1]], gan)
    folders = sorted(path.parent for path in runs.glob("*/gan/*/spec.json"))
    [first] = first_seeds(folders)
    assert '"seed": 0' in (first / "spec.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "cluster"], "unknown kind of plot 'cluster'; did you mean clusters?"),
        (["--kind", "clusters", "--models", "gan"], "gan cannot draw clusters: it has no cluster"),
        (["--kind", "traversal", "--models", "gam"], "unknown model among these runs 'gam'; did you mean gan?"),
        (["--out", "x.png"], "--out is for one kind of plot; give --kind, one of clusters"),
        (["--kind", "traversal", "--out", "x.gif", "--models", "gan"], "traversal cannot be drawn as a film"),
    ],
)
def test_mistakes_have_one_line(finished: Path, ganbench: Callable, arguments: list[str], message: str) -> None:
    answer = ganbench("plot", finished, *arguments)
    assert answer.code == 2 and message in answer.err and answer.err.count("\n") == 1


VIDEO = """
name = "films"
version = 1
summary = "one model of sequences"
datasets = ["moving-digits-4"]
metrics = ["prediction-mse"]

[backbone]
kind = "mlp"
generator = [8]
critic = [8]

[budgets.quick]
rounds = 2
seeds = 1
batch = 10
samples = 20
"""


def test_runs_on_moving_digits_are_drawn(tmp_path: Path, ganbench: Callable) -> None:
    (tmp_path / "films.toml").write_text(VIDEO, encoding="utf-8")
    suite = read_suite(str(tmp_path / "films.toml"))
    [[spec]] = expand(suite, "quick", ["frame-prediction-mse"]).values()
    train([spec], datasets.load("moving-digits-4"), tmp_path)
    answer = ganbench("plot", spec.folder(tmp_path))
    assert answer.code == 0, answer.err
    names = [Path(line).name for line in answer.out.split()]
    assert names == ["strips.png", "extrapolation.png", "extrapolation.gif"]
    with Image.open(spec.folder(tmp_path) / "extrapolation.gif") as film:
        assert film.n_frames == 200
        film.seek(199)
        last = np.asarray(film.convert("L")).astype(int)
        film.seek(0)
        assert np.abs(last - np.asarray(film.convert("L"))).max() > 5
    answer = ganbench("plot", spec.folder(tmp_path), "--kind", "analogy")
    assert answer.code == 2 and "frame-prediction-mse cannot draw analogy: it has no transfer" in answer.err


def test_films_keep_colours() -> None:
    red, blue = (torch.tensor(c).reshape(1, 1, 3, 1, 1).expand(1, 2, 3, 9, 9) for c in ([1.0, 0, 0], [0, 0, 1.0]))
    content = gif(sheet([Panel(tiles, "film")]) for tiles in (red, blue))
    with Image.open(io.BytesIO(content)) as film:
        assert film.n_frames == 2 and film.info["loop"] == 0
        left, top, _ = place(Panel(red, "film"))
        for frame, colour in enumerate([(255, 0, 0), (0, 0, 255)]):
            film.seek(frame)
            assert film.convert("RGB").getpixel((left, top)) == colour
