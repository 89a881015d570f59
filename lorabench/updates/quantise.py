"""Row-wise 8-bit quantisation of embeddings, as production dumps have it.

A row becomes D bytes, the scale of its range and its offset, its least value:
``code = round((x - offset) * 255 / (range + 1e-8))``, and back ``x ~ code * scale + offset`` with
``scale = range / 255``. Both ways are torch's own operators, which its quantised embedding bags
read, and which FBGEMM calls ``FloatToFused8BitRowwiseQuantized``; there scale and offset lie behind
a row's codes, here they are arrays of their own. Scales in half precision are what these have for 4
bits, not for 8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class QuantisedRows:
    """Rows of embeddings in 8 bits.

    Attributes
    ----------
    codes : uint8 [n, D]
    scale, offset : float32 [n]
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @property
    def size_bytes(self) -> int:
        """What they take: D + 8 a row."""
        return self.codes.nbytes + self.scale.nbytes + self.offset.nbytes

    def rows(self) -> NDArray[np.float32]:
        """Return them as float32 [n, D].

        Each value is off by at most half of its row's scale and 1e-8, which the operator adds to
        the range lest it divide by zero; float32 rounds besides.
        """
        import torch

        fused = np.concatenate(
            [self.codes, _bytes(self.scale), _bytes(self.offset)], axis=1, dtype=np.uint8
        )
        found: NDArray[np.float32] = torch.ops.quantized.embedding_bag_byte_unpack(
            torch.from_numpy(fused)
        ).numpy()
        return found


def quantise(rows: NDArray[np.float32]) -> QuantisedRows:
    """Quantise float32 [n, D] row by row; a row whose values are all the same has scale 0.

    Raises
    ------
    ValueError
        A value is not finite, or a row's range is more than float32 holds: it would come back as
        NaN.
    """
    import torch

    dim = rows.shape[1]
    fused: NDArray[np.uint8] = torch.ops.quantized.embedding_bag_byte_prepack(
        torch.from_numpy(np.ascontiguousarray(rows))
    ).numpy()
    scale, offset = (
        np.ascontiguousarray(fused[:, begin : begin + 4]).view(np.float32).ravel()
        for begin in (dim, dim + 4)
    )
    # Not of scale and offset alone: a NaN is passed over where a row's range is looked for.
    bad = ~(np.isfinite(rows).all(axis=1) & np.isfinite(scale))
    if bad.any():
        row = int(bad.argmax())
        low, high = rows[row].min(), rows[row].max()
        raise ValueError(
            f"row {row}: found values of {low:g} to {high:g}, expected finite ones whose range is, "
            "too"
        )
    return QuantisedRows(np.ascontiguousarray(fused[:, :dim]), scale, offset)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return float32 [n] as uint8 [n, 4]."""
    return np.ascontiguousarray(values, np.float32).view(np.uint8).reshape(-1, 4)
