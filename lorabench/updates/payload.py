"""What each way to keep a served model fresh sends of the rows, and how many bytes a row takes.

A row that is sent alone goes with its key, 8 bytes; all rows together go in order and need none.
In 8 bits a row takes a byte a value and its scale and offset, a float32 each
(`lorabench.updates.quantise`).
"""

from dataclasses import dataclass

KEY_BYTES = 8
VALUE_BYTES = 4
SCALE_AND_OFFSET_BYTES = 8


@dataclass(frozen=True)
class Payload:
    """What a strategy sends of the rows that were touched.

    Parameters
    ----------
    name : str
        The strategy's.
    most : float
        Share of all rows that it sends at most.
    always : bool
        It sends that share whatever was touched.
    streams : bool
        It sends rows as they are trained, and does not wait for an interval's end.
    value_bytes, row_bytes : int
        Of each value of a row, and of each row beside these.
    """

    name: str
    most: float = 1.0
    always: bool = False
    streams: bool = False
    value_bytes: int = VALUE_BYTES
    row_bytes: int = KEY_BYTES

    def share(self, touched: float) -> float:
        """Return the share of all rows that is sent, of the share that was touched."""
        return self.most if self.always else min(self.most, touched)

    def bytes_of_row(self, dim: int) -> int:
        """Return what a row that is sent takes; 0 where none is."""
        return dim * self.value_bytes + self.row_bytes if self.most else 0

    def expansion(self, dim: int) -> float:
        """Return the bytes sent for each byte of a row of `dim` float32."""
        return self.bytes_of_row(dim) / (dim * VALUE_BYTES)

    @property
    def may_send_all(self) -> bool:
        """Whether what is sent grows with what is touched until all rows go."""
        return not self.always and self.most == 1.0


PAYLOADS = (
    Payload("none", most=0.0),
    Payload("full", always=True, row_bytes=0),
    Payload("touched-rows", row_bytes=0),
    Payload("delta"),
    Payload("delta-int8", value_bytes=1, row_bytes=KEY_BYTES + SCALE_AND_OFFSET_BYTES),
    Payload("priority-5", most=0.05),
    Payload("priority-10", most=0.10),
    Payload("stream", streams=True),
    Payload("lora", most=0.0),
)
"""Of all strategies; ``touched-rows`` is none, but the rows of ``delta`` without their keys.

``priority-N`` sends the N % of all rows that changed most, of those touched; its full updates in
between are those of ``full``. ``lora`` learns where it serves and sends nothing.
"""
