"""`ganbench check` names what is wrong with a model, and where, on one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[2] / "README.md"
SOUND = '''
"""A sound model, into which faults are planted."""

import torch

from ganbench.game import Config, Game, Normal, Player
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating

SEEN = []


class Planted(Game):
    """A plain GAN. Nobody 2026."""

    name = "planted"
    players = (Player("discriminator", nets=("D",)), Player("generator", nets=("G",)))
    average = torch.zeros(())
    made = 0

    def __init__(self, data, config=Config()):
        super().__init__(data, config)
        self.G = config.backbone.make_generator(8, data.shape)
        self.D = config.backbone.make_critic(data.shape)

    def noise(self):
        return {"z": Normal(8)}

    def sample(self, noise):
        return self.G(noise["z"])

    def precompute(self, batch):
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x, batch):
        fake = batch["fake"].detach()
        return gan_discriminator(self.D(x), self.D(fake))

    def generator_loss(self, x, batch):
        return gan_generator_nonsaturating(self.D(batch["fake"]))
'''

FAULTS = {
    "hidden randomness": (
        "self.D(x), self.D(fake)",
        "self.D(x + torch.randn_like(x)), self.D(fake)",
        "discriminator_loss draws random numbers of its own; declare them in noise[(][)] instead",
    ),
    "wrong sample count": (
        'return self.G(noise["z"])',
        'return self.G(noise["z"])[1:]',
        "sample gives 6 items for the noise of 7",
    ),
    "vector loss": (
        'return gan_generator_nonsaturating(self.D(batch["fake"]))',
        'return torch.nn.functional.softplus(-self.D(batch["fake"]))',
        r"generator_loss has shape \(24, 1\), expected a scalar tensor; take e.g. its mean over the batch",
    ),
    "in place on real images": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach(); x.clamp_(-0.9, 0.9)',
        "discriminator_loss changes x in place, which other players see too",
    ),
    "in place on what players share": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach().mul_(0.5)',
        r"discriminator_loss changes batch\['fake'\] in place, which other players see too",
    ),
    "in place on noise": (
        'return {"fake": self.sample(batch)}',
        'return {"fake": self.sample({"z": batch["z"].mul_(2)})}',
        r"precompute changes batch\['z'\] in place, which other players see too",
    ),
    "in place on a tensor that is no buffer": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach(); self.average.add_(1)',
        "discriminator_loss changes Planted.average, which all seeds share; state that lasts belongs in a buffer",
    ),
    "NaN": (
        'return gan_generator_nonsaturating(self.D(batch["fake"]))',
        'return (self.D(batch["fake"]) - 1000).exp().mean().log()',
        "generator_loss is -inf on the first batch",
    ),
    "wrong shape": (
        'return self.G(noise["z"])',
        'return self.G(noise["z"]).mT[..., :4]',
        r"sample gives items of shape \(3, 8, 4\), those of the data have \(3, 8, 8\)",
    ),
    "missing noise": (
        'return self.G(noise["z"])',
        'return self.G(noise["z"] + noise["jitter"])',
        "precompute asks for 'jitter', which noise[(][)] does not declare; it declares z",
    ),
    "labels without supervision": (
        "self.D(x), self.D(fake)",
        'self.D(x) * batch["y"][:, None], self.D(fake)',
        "discriminator_loss asks for 'y', .* labels need supervision = 'labelled' or 'conditional'",
    ),
    "noise of training alone": (
        'return {"z": Normal(8)}',
        'return {"z": Normal(8, training_only=True)}',
        "sample asks for 'z', which noise[(][)] declares for training only",
    ),
    "statistics across seeds in the class": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach(); x = x - x.mean() + Planted.made; Planted.made = Planted.made + 1',
        "discriminator_loss changes Planted.made, which all seeds share; state that lasts belongs in a buffer",
    ),
    "statistics across seeds in the file": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach(); SEEN.append(x.detach().mean()); x = x - sum(SEEN) / len(SEEN)',
        "discriminator_loss changes the global variable SEEN, which all seeds share",
    ),
    "state in the game that is no buffer": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach(); self.step = getattr(self, "step", 0) + 1',
        "discriminator_loss changes self.step; state that lasts belongs in a buffer of the game",
    ),
    "a loss that is cut off": (
        'gan_generator_nonsaturating(self.D(batch["fake"]))',
        'gan_generator_nonsaturating(self.D(batch["fake"].detach()))',
        r"generator_loss does not reach G\.\S+, which generator moves",
    ),
    "noise that nobody asks for": (
        'return {"z": Normal(8)}',
        'return {"z": Normal(8), "mix": Normal(1)}',
        "noise[(][)] declares 'mix', which no loss and no sample asks for",
    ),
    "range": (
        'return self.G(noise["z"])',
        'return 30 * self.G(noise["z"])',
        r"sample gives numbers up to [\d.]+, those of the data lie in \[-1, 1\]",
    ),
    "ability": (
        "    def precompute(",
        "    def encode(self, x):\n        return self.D(x)[1:]\n\n    def precompute(",
        r"encode of 9 items gives shape \(8, 1\), expected \(9, \.\.\.\)",
    ),
    "the batch decides": (
        'return self.G(noise["z"])',
        'return self.G(noise["z"] - noise["z"].mean(0))',
        "in eval mode, sample makes another item of the same noise when others stand beside it",
    ),
    "a value asked of a tensor": (
        'fake = batch["fake"].detach()',
        'fake = batch["fake"].detach() * (1 if x.mean() > 0 else 0.5)',
        r"seeds together are seeds alone: RuntimeError: vmap: .* \(line 35 of mine\.py\)",
    ),
    "a parameter that nobody moves": (
        "self.D = config",
        "self.scale = torch.nn.Parameter(torch.ones(()))\n        self.D = config",
        "every parameter must belong to a player, but scale does not",
    ),
    "no docstring": ('"""A plain GAN. Nobody 2026."""', "", "class Planted has no docstring"),
}


def test_a_sound_model_passes(checked: Callable[[str], Any]) -> None:
    answer = checked(SOUND)
    assert answer.code == 0 and answer.err == "", answer.out
    assert re.fullmatch(r"planted: 1\d checks passed\n", answer.out)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_on_one_line(checked: Callable[[str], Any], name: str) -> None:
    before, after, message = FAULTS[name]
    assert SOUND.count(before) == 1
    answer = checked(SOUND.replace(before, after))
    assert answer.code == 2 and answer.out.count("\n") == 1, answer.out
    assert re.search(message, answer.out) and answer.out.startswith("planted: "), answer.out
    assert re.fullmatch(r"ganbench: error: 1 of 1 in \S+ break the contract; .*\n", answer.err)


def test_the_model_of_the_readme_passes(checked: Callable[[str], Any]) -> None:
    [text] = re.findall(r"<!-- my_gan.py -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    answer = checked(text)
    assert answer.code == 0 and answer.out.startswith("my-gan: "), answer.out


def test_registered_names_are_checked_too(ganbench: Callable[..., Any]) -> None:
    assert re.fullmatch(r"wgan-gp: 1\d checks passed\n", ganbench("check", "wgan-gp").out)
    assert ganbench("check", "digits").out == "digits: 6 checks passed\n"
    answer = ganbench("check", "wgan-pg")
    assert answer.code == 2 and "unknown model, metric or dataset 'wgan-pg'; did you mean wgan-gp" in answer.err


def test_a_file_that_registers_nothing(checked: Callable[[str], Any]) -> None:
    answer = checked("x = 3\n")
    assert answer.code == 2 and "registers no model, metric or dataset" in answer.err and answer.out == ""
