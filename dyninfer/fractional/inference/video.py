"""Convolutional networks that read and draw frames, for a latent equation behind a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dyninfer.fractional.inference.encoder import Encoding
from dyninfer.fractional.inference.modules import with_content


class FrameEncoder(nn.Module):
    """Reads a video frame by frame: where the state is, what stays, a context for the control.

    Every frame goes through blocks of a convolution, a maximum over 2 × 2 pixels, a normalisation
    over groups of channels and SiLU, to ``n_features`` numbers. The content is a perceptron of
    their median over the frames: a motion passes, what is there stays. The context is a convolution
    of them over three and again three frames. Missing frames count as 0.

    Parameters
    ----------
    size : int
        Pixels along a side of the square frame.
    latent_dim, content_dim : int
        Coordinates of the state, and numbers that stay the same; content may be 0.
    widths : sequence of int
        Channels of the blocks, each of which halves the frame; the method's paper has 64, 128, 256,
        256 for 64 pixels.
    n_features, n_context : int

    Raises
    ------
    ValueError
        If the blocks do not divide the frame evenly.

    References
    ----------
    Daems, Opper, Crevecoeur, Birdal. Variational inference for SDEs driven by fractional noise.
    ICLR 2024, arXiv 2310.12975: the video model.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.fractional.inference import FrameEncoder
    >>> encoder = FrameEncoder(16, latent_dim=2, content_dim=3, widths=(8, 16))
    >>> values = torch.zeros(4, 7, 256)
    >>> encoding = encoder(values, torch.ones_like(values), torch.arange(7.0).expand(4, -1))
    >>> encoding.mean.shape, encoding.content.shape
    (torch.Size([4, 7, 2]), torch.Size([4, 3]))
    """

    def __init__(
        self,
        size: int,
        *,
        latent_dim: int,
        content_dim: int = 0,
        widths: Sequence[int] = (64, 128, 256, 256),
        n_features: int = 64,
        n_context: int = 64,
    ):
        super().__init__()
        side = _smallest_side(size, widths)
        self.size = size
        self.n_context = n_context
        layers = _shrinking(widths)
        area = side**2
        n_smallest = widths[-1] * area
        last = nn.Linear(n_smallest, n_features)
        self.frames = nn.Sequential(*layers, nn.Flatten(), last)
        self.content = None
        if content_dim:
            self.content = nn.Sequential(
                nn.Linear(n_features, n_features),
                nn.SiLU(),
                nn.Linear(n_features, content_dim),
            )
        self.near = nn.Conv1d(n_features, n_context, 3, padding=1)
        self.wide = nn.Conv1d(n_context, n_context, 3, padding=1)
        n_both = n_features + n_context
        self.head = nn.Linear(n_both, 2 * latent_dim)
        with torch.no_grad():
            # Surer than the prior, so that decoder and encoder can agree on places.
            self.head.bias[latent_dim:] = math.log(0.1)

    def forward(self, values: Tensor, mask: Tensor, times: Tensor) -> Encoding:
        """Read flattened frames ``(P, L, size · size)``, 0 where ``mask`` is 0, at even times."""
        n_paths, n_times = values.shape[:2]
        frames = values.reshape(n_paths * n_times, 1, self.size, self.size)
        is_observed = mask.any(-1, keepdim=True)
        features = self.frames(frames).view(n_paths, n_times, -1)
        # Missing frames stay 0, as beyond the end of a video.
        features = features * is_observed
        of_neighbours = self.near(features.mT)
        near = nn.functional.silu(of_neighbours)
        near = near * is_observed.mT
        context = self.wide(near).mT
        # A frame says where the state is; its neighbours say how surely.
        both = torch.cat([features, context], dim=-1)
        numbers = self.head(both)
        mean, log_variance = numbers.chunk(2, dim=-1)
        content = None
        if self.content is not None:
            observed = torch.where(is_observed, features, math.nan)
            median = observed.nanmedian(dim=1).values
            # A path without any frame has no median, and no content.
            content = self.content(median.nan_to_num())
        return Encoding(mean, log_variance, context, content)


class FrameDecoder(nn.Module):
    """Draws a frame from state and content.

    ``(n, d), (n, content_dim) or None -> (n, size · size)``.

    A linear map to the smallest frame, blocks of a convolution, a normalisation over groups of
    channels, doubled pixels and SiLU, and grey values by a sigmoid. They come back standardised by
    ``shift`` and ``scale``, which are those of all pixels of the data: a model with a decoder of
    its user's own standardises all features alike.

    Parameters
    ----------
    size : int
    latent_dim, content_dim : int
    widths : sequence of int
        Channels from the largest frame to the smallest, as those of the encoder.
    shift, scale : float
        Mean and standard deviation of the grey values of the data, in which frames lie between 0
        and 1.

    Raises
    ------
    ValueError
        If the blocks do not divide the frame evenly, or grey values of such a mean and deviation
        cannot be.

    Examples
    --------
    >>> import dyninfer as di
    >>> import numpy as np
    >>> from dyninfer.fractional.inference import FrameDecoder, FrameEncoder
    >>> videos = di.simulators.BouncingShapes(size=8, n_shapes=1).paths(6, n=4)
    >>> grey = np.stack(videos.states)
    >>> shape = {"latent_dim": 2, "content_dim": 1, "widths": (4, 8)}
    >>> encoder = FrameEncoder(8, **shape)
    >>> decoder = FrameDecoder(8, shift=grey.mean(), scale=grey.std(), **shape)
    >>> model = di.FractionalSDE(
    ...     state=di.Latent(dim=2, content_dim=1, encoder=encoder, decoder=decoder),
    ...     drift="network",
    ...     observation_noise=0.1,
    ... ).fit(videos, max_steps=2, progress=False)
    >>> model.forecast(videos, [0.6, 0.7], n_samples=3).states.shape
    torch.Size([12, 2, 64])
    """

    def __init__(
        self,
        size: int,
        *,
        latent_dim: int,
        content_dim: int = 0,
        widths: Sequence[int] = (64, 128, 256, 256),
        shift: float,
        scale: float,
    ):
        super().__init__()
        if not 0 < shift < 1:
            raise ValueError(
                f"shift must be the mean of grey values between 0 and 1, found {shift}; "
                "divide frames by their largest"
            )
        if not scale > 0:
            raise ValueError(
                f"scale must be the positive deviation of the grey values, found {scale}"
            )
        side = _smallest_side(size, widths)
        self.shift = float(shift)
        self.scale = float(scale)
        n_inputs = latent_dim + content_dim
        area = side**2
        n_smallest = widths[-1] * area
        layers: list[nn.Module] = [
            nn.Linear(n_inputs, n_smallest),
            nn.Unflatten(1, (widths[-1], side, side)),
        ]
        layers += _growing(widths)
        last = _convolution(widths[0], 1)
        # At first every pixel has the mean grey of the data.
        odds = shift / (1 - shift)
        logit = math.log(odds)
        nn.init.constant_(last.bias, logit)  # type: ignore[arg-type]
        layers += [
            _convolution(widths[0], widths[0]),
            nn.SiLU(),
            last,
            nn.Flatten(),
            nn.Sigmoid(),
        ]
        self.network = nn.Sequential(*layers)

    def forward(self, x: Tensor, content: Tensor | None) -> Tensor:
        """Standardised frames."""
        grey = self.network(with_content(x, content))
        return (grey - self.shift) / self.scale


def _shrinking(widths: Sequence[int]) -> list[nn.Module]:
    """Layers that halve a frame once for every width."""
    layers: list[nn.Module] = []
    for before, after in pairwise([1, *widths]):
        layers += [
            _convolution(before, after),
            nn.MaxPool2d(2),
            _normalisation(after),
            nn.SiLU(),
        ]
    return layers


def _growing(widths: Sequence[int]) -> list[nn.Module]:
    """Layers that double a frame once for every width, from the last width to the first."""
    layers: list[nn.Module] = []
    upwards = [*widths[::-1], widths[0]]
    for before, after in pairwise(upwards):
        layers += [
            _convolution(before, after),
            _normalisation(after),
            nn.Upsample(scale_factor=2),
            nn.SiLU(),
        ]
    return layers


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _normalisation(channels: int) -> nn.GroupNorm:
    """Over eight groups, or fewer where the channels do not divide so."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _smallest_side(size: int, widths: Sequence[int]) -> int:
    n_blocks = len(widths)
    factor = 2**n_blocks
    if n_blocks == 0 or size % factor:
        raise ValueError(
            f"widths has {n_blocks} blocks, each of which halves the frame, but size is "
            f"{size}: give at least one block, and no more than the size can be halved"
        )
    return size // factor
