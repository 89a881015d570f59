"""Speck64/128, a block cipher over arrays: a bijection of 64-bit words that only its key undoes.

What it is for here: rows of tables under names that tell nothing of their numbers. Without a key it
cannot be undone, and two rows never get one name. Beaulieu et al., "The SIMON and SPECK families of
lightweight block ciphers" (2013, eprint 2013/404): 64-bit blocks, a key of 128 bits, 27 rounds.
"""

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
_ROUNDS = 27
_MASK = 0xFFFFFFFF


def _schedule(key: bytes) -> list[int]:
    """Return the key of each round."""
    words = [int.from_bytes(key[at : at + 4], "little") for at in range(0, KEY_BYTES, 4)]
    current, rest = words[0], words[1:]
    keys = [current]
    for n in range(_ROUNDS - 1):
        mixed = ((_rotated(rest[n], 24) + current) & _MASK) ^ n
        rest.append(mixed)
        current = _rotated(current, 3) ^ mixed
        keys.append(current)
    return keys


def _rotated(word: int, left: int) -> int:
    return ((word << left) | (word >> (32 - left))) & _MASK


def encrypt(key: bytes, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Encrypt words, each by itself.

    Parameters
    ----------
    key : bytes
        16 of them.
    words : uint64 [n]

    Returns
    -------
    uint64 [n]

    Raises
    ------
    ValueError
        The key is longer or shorter.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"found a key of {len(key)} bytes, expected {KEY_BYTES}")
    x = (words >> np.uint64(32)).astype(np.uint32)
    y = words.astype(np.uint32)
    for each in _schedule(key):
        x = (x >> np.uint32(8)) | (x << np.uint32(24))
        x = (x + y) ^ np.uint32(each)
        y = ((y << np.uint32(3)) | (y >> np.uint32(29))) ^ x
    return (x.astype(np.uint64) << np.uint64(32)) | y
