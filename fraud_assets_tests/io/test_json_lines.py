"""A log that several processes append to loses nothing and holds complete lines only."""

import multiprocessing

from fraud_io.json_lines import JsonLines

WRITERS, ENTRIES = 3, 50


def count_on(path):
    log = JsonLines(path)
    for _ in range(ENTRIES):
        with log.locked() as append:
            append({"number": len(log.entries())})


def test_a_log_without_a_file_is_empty(tmp_path):
    assert JsonLines(tmp_path / "none.jsonl").entries() == []


def test_entries_are_appended_a_line_each(tmp_path):
    log = JsonLines(tmp_path / "folder" / "log.jsonl")
    with log.locked() as append:
        append({"a": 1, "text": "two\nlines"})
        append({"b": None})
    assert log.path.read_text() == '{"a": 1, "text": "two\\nlines"}\n{"b": null}\n'
    assert log.entries() == [{"a": 1, "text": "two\nlines"}, {"b": None}]


def test_what_is_read_under_the_lock_is_true_until_it_is_written(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=count_on, args=(tmp_path / "log.jsonl",)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [entry["number"] for entry in JsonLines(tmp_path / "log.jsonl").entries()] == list(range(WRITERS * ENTRIES))
