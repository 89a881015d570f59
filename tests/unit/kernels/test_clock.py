"""What a thread asks of the kernel about when it runs."""

import threading

from lorabench._kernels.serve import set_time_slice


def test_a_time_slice_is_what_was_asked_for_where_the_kernel_has_any_to_give() -> None:
    found: list[int] = []

    def ask() -> None:
        found.extend((set_time_slice(100_000), set_time_slice(3_000_000)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found in ([100_000, 3_000_000], [0, 0])  # the latter before Linux 6.12
