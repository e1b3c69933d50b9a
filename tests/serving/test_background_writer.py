from __future__ import annotations

import threading

from serving.background_writer import BackgroundWriter
from tests.support.waiting import wait_until


def test_items_are_written_in_order_and_the_last_ones_by_close() -> None:
    written: list[int] = []

    def write(items: list[int]) -> list[int]:
        written.extend(items)
        return []

    writer = BackgroundWriter("test", write, 0.01)
    for item in range(100):
        writer.put(item)
    wait_until(lambda: len(written) == 100)
    writer.put(100)
    writer.close()
    assert written == list(range(101))
    assert len(writer) == 0


def test_what_could_not_be_written_is_tried_again_before_what_came_later() -> None:
    written: list[int] = []
    works = threading.Event()

    def write(items: list[int]) -> list[int]:
        if not works.is_set():
            return items
        written.extend(items)
        return []

    writer = BackgroundWriter("test", write, 0.01)
    writer.put(1)
    writer.put(2)
    assert not works.wait(0.1)
    writer.put(3)
    works.set()
    writer.close()
    assert written == [1, 2, 3]


def test_nothing_is_lost_between_threads_that_put_at_once() -> None:
    written: list[int] = []

    def write(items: list[int]) -> list[int]:
        written.extend(items)
        return []

    writer = BackgroundWriter("test", write, 0.0001)
    threads = [threading.Thread(target=lambda n=n: [writer.put(n * 2_000 + i) for i in range(2_000)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(written) == list(range(8_000))
