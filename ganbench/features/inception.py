"""The Inception network of 2015 behind the published FID and Inception Score, through pytorch-fid.

pytorch-fid (Seitzer 2020) holds the TensorFlow weights that Heusel et al. 2017 and Salimans et al. 2016 used.
Its resize is kept as it is: bilinear, corners not aligned, no antialiasing; clean-fid and TensorFlow resize
otherwise and get other numbers. The weights (96 MB) are not shipped.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganbench.errors import UserError
from ganbench.features import Extractor, register

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GANBENCH_INCEPTION"


class Folded(nn.Module):
    """A convolution that has taken in the batch norm behind it, and a rectifier.

    Args:
        conv, norm: both in eval mode.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = fuse_conv_bn_eval(conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the non-negative output of the convolution."""
        return F.relu_(self.conv(x))


class Inception(nn.Module):
    """Features and logits of the 2015 Inception network.

    Batch norms are folded and channels stored last: the same numbers to rounding, in less than half the time.

    Args:
        state: the network's state under the keys of pytorch-fid's weight file.
        dtype: of the convolutions; resize, pooled features and logits are float32.
    """

    def __init__(self, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        from pytorch_fid import inception  # imports torchvision: slow, and needed by this extractor only
        from torchvision.models.inception import BasicConv2d

        # pytorch-fid fetches its weights while it builds the network and has no argument for a local file
        with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
            blocks = inception.InceptionV3().eval().blocks
        for name, unit in list(blocks.named_modules()):
            if isinstance(unit, BasicConv2d):
                blocks.set_submodule(name, Folded(unit.conv, unit.bn))
        self.body = nn.Sequential(*blocks).to(dtype).to(memory_format=torch.channels_last)
        self.dtype = dtype
        self.head = nn.Parameter(state["fc.weight"].clone(), requires_grad=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits, float32.

        Args:
            images: (n, 1 or 3, height, width) in [0, 1]; grey is repeated to three channels.

        Returns:
            The 2048 numbers of the last pooling layer, and the 1008 logits without bias: the ones that
            torch-fidelity calls 'logits_unbiased' and the Inception Score of 2016 is made of.
        """
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        large = 2 * F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False) - 1
        features = self.body(large.to(self.dtype, memory_format=torch.channels_last)).flatten(1).float()
        return features, features @ self.head.T


def find_weights() -> Path:
    """Return the weight file: where GANBENCH_INCEPTION points, else in torch.hub's folder, fetched if absent.

    Raises:
        UserError: the file is not there and could not be fetched.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if Path(given).is_file():
            return Path(given)
        raise UserError(f"{VARIABLE} should be the path of {FILE}, but '{given}' is no file; mend or unset it")
    file = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not file.is_file():
        from pytorch_fid.inception import FID_WEIGHTS_URL

        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(FID_WEIGHTS_URL, str(file), SHA256, progress=sys.stderr.isatty())
        except (OSError, http.client.HTTPException, RuntimeError) as error:  # RuntimeError: wrong hash
            reason = " ".join(str(error).split())
            raise UserError(
                f"extractor inception-2015 needs {FILE}, which could not be fetched ({reason}); get it from "
                f"{FID_WEIGHTS_URL}, put it into '{file.parent}' or set {VARIABLE} to its path"
            ) from None
    return file


def load_inception(sha256: str = SHA256, dtype: torch.dtype = torch.float32) -> Inception:
    """Return the network in eval mode.

    Args:
        sha256: the hash, or the first digits of it, that the weight file must have.
        dtype: of the convolutions.

    Raises:
        UserError: the file is absent and cannot be fetched, is unreadable, or its hash differs.
    """
    file = find_weights()
    try:
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror
        raise UserError(f"weight file '{file}' cannot be read ({reason}); mend its permissions") from None
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(sha256):
        raise UserError(
            f"weight file '{file}' should have sha256 {sha256[:12]}... but has {found[:12]}...; "
            f"delete it to fetch it again, or set {VARIABLE} to the path of the right {FILE}"
        )
    network = Inception(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), dtype)
    return network.eval()


register(
    Extractor(
        "inception-2015",
        "Inception of 2015 as in pytorch-fid, resize to 299x299, 2048 features, 1008 logits without bias",
        SHA256,
        load_inception,
    )
)
register(
    Extractor(
        "inception-2015-bf16",
        "inception-2015 with convolutions in bfloat16: faster, another metric; 2048 features, 1008 logits",
        SHA256,
        partial(load_inception, dtype=torch.bfloat16),
    )
)
