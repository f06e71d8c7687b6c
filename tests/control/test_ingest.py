"""Events of a file are in the log once and in order; what is no event is set aside with its reason."""

from __future__ import annotations

import tracemalloc

import pytest

from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.ingest.source import KEPT_BYTES_MAX
from kappa.errors import InputError
from kappa.ports.log import RECORD_BYTES_MAX

ANA = b'{"type":"OrderPlaced","user_id":"ana","timestamp":"2026-03-01T12:00:00Z","amount":"1.50"}'
BOB = b'{"type":"OrderPlaced","user_id":"bob","timestamp":"2026-03-01T13:00:00+01:00","amount":"2"}'


def line(**fields: str) -> bytes:
    """Return a line of an event, some fields replaced by other JSON texts or left out."""
    event = {"type": '"OrderPlaced"', "user_id": '"ana"', "timestamp": '"2026-03-01T12:00:00Z"'} | fields
    return ("{" + ",".join(f'"{name}":{text}' for name, text in event.items() if text) + "}").encode()


def orders(count: int) -> bytes:
    return b"".join(line(user_id=f'"user-{number % 97}"', order_id=str(number)) + b"\n" for number in range(count))


def test_a_line_becomes_a_record_with_its_key_its_time_and_its_bytes(intake) -> None:
    report = intake.ingest(ANA + b"\n" + BOB + b"\n")

    records = [record for partition in range(4) for record in intake.log.read(partition, 0, records_max=10)]
    assert sorted((record.key, record.value, record.event_time_us) for record in records) == [
        (b"ana", ANA, 1_772_366_400_000_000),
        (b"bob", BOB, 1_772_366_400_000_000),
    ]
    assert (report.appended, report.rejected, report.types) == (2, 0, {"OrderPlaced": 2})


def test_an_integer_key_is_written_as_text(intake) -> None:
    intake.ingest(line(user_id="42"))

    assert [record.key for partition in range(4) for record in intake.log.read(partition, 0, records_max=1)] == [b"42"]


def test_a_file_ingested_twice_adds_nothing_twice(intake) -> None:
    intake.ingest(orders(25_000))
    report = intake.ingest()

    assert (report.appended, report.already_there) == (0, 25_000)
    assert len(intake.values()) == 25_000


def test_a_file_that_has_grown_goes_on_where_it_ended(intake) -> None:
    intake.ingest(ANA + b"\n")
    report = intake.ingest(ANA + b"\n" + BOB + b"\n")

    assert (report.appended, report.already_there, report.lines) == (1, 1, 2)
    assert sorted(intake.values()) == [ANA, BOB]


@pytest.mark.parametrize(
    "now",
    [BOB + b"\n", ANA, ANA.replace(b"1.50", b"9.50") + b"\n" + BOB],
    ids=["another file", "a shorter file", "one byte changed"],
)
def test_a_file_that_was_replaced_is_refused_with_the_remedy(intake, now: bytes) -> None:
    intake.ingest(ANA + b"\n")

    with pytest.raises(InputError, match="bytes taken then have changed") as refused:
        intake.ingest(now)
    assert refused.value.next_step is not None
    assert "--source NAME" in refused.value.next_step
    assert intake.values() == [ANA]


def test_a_replaced_file_is_taken_under_a_name_of_its_own(intake) -> None:
    intake.ingest(ANA + b"\n")
    intake.ingest(BOB + b"\n", source="second")

    assert sorted(intake.values()) == [ANA, BOB]


# Name -> a line that is no event, and part of the reason.
BAD_LINES = {
    "not JSON": (b"not json", "JSON is malformed"),
    "an array": (b"[1,2]", "Expected `object`, got `array`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "no type": (line(type=""), "missing required field `type`"),
    "empty type": (line(type='""'), "length >= 1 - at `$.type`"),
    "type is a number": (line(type="7"), "Expected `str`, got `int` - at `$.type`"),
    "no key": (line(user_id=""), "missing required field `user_id`"),
    "null key": (line(user_id="null"), "got `null` - at `$.user_id`"),
    "empty key": (line(user_id='""'), "length >= 1 - at `$.user_id`"),
    "boolean key": (line(user_id="true"), "got `bool` - at `$.user_id`"),
    "float key": (line(user_id="1.0"), "got `float` - at `$.user_id`"),
    "key beyond 64 bits": (line(user_id="9223372036854775808"), "<= 9223372036854775807 - at `$.user_id`"),
    "no timestamp": (line(timestamp=""), "missing required field `timestamp`"),
    "no zone": (line(timestamp='"2026-03-01T12:00:00"'), "with a timezone component"),
    "not ISO 8601": (line(timestamp='"yesterday"'), "Invalid RFC3339"),
    "seconds since 1970": (line(timestamp="1772366400"), "got `int` - at `$.timestamp`"),
    "not a number": (line(amount="NaN"), "JSON is malformed"),
    "infinity": (line(amount="-Infinity"), "JSON is malformed"),
    "not UTF-8": (line(note='"?"').replace(b"?", b"\xff"), "Expected UTF-8, got b'\\xff'"),
    "a lone surrogate": (line(note='"\\ud800"'), "JSON is malformed"),
    "a control character": (line(note='"a\x00b"'), "JSON is malformed"),
    "nested deeply": (line(note="[" * 100_000 + "]" * 100_000), "nested less deeply"),
    "two events": (ANA + BOB, "trailing characters"),
    "cut off": (ANA[:-9], "it ends too early"),
    "too large": (line(note=f'"{"x" * RECORD_BYTES_MAX}"'), "Expected at most 1,048,576 bytes"),
}

GOOD_LINES = {
    "an unknown type": line(type='"NobodyKnows"'),
    "a number beyond 64 bits": line(amount="123456789012345678901234567890"),
    "a number beyond floats": line(amount="1e999"),
    "an unknown schema version": line(_schema_version="99"),
    "text of all kinds": line(note='"gr\u00fc\u00df \\ud83d\\ude00"'),
    "spaces around it": b"  " + ANA + b"\t",
    "the least integer key": line(user_id="-9223372036854775808"),
    "the first year": line(timestamp='"0001-01-01T00:00:00Z"'),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_what_is_no_event_has_a_reason(name: str) -> None:
    bad, reason = BAD_LINES[name]

    with pytest.raises(NotAnEvent) as refused:
        EventReader("user_id").read(bad)
    assert reason in str(refused.value)


@pytest.mark.parametrize("name", GOOD_LINES)
def test_what_only_a_view_can_judge_is_an_event(name: str) -> None:
    _, record = EventReader("user_id").read(GOOD_LINES[name])

    assert record.value == GOOD_LINES[name]


def test_what_is_no_event_is_rejected_and_the_others_go_on(intake) -> None:
    places, content = {}, b""
    for number, (name, (bad, _)) in enumerate(BAD_LINES.items()):
        content += ANA + b"\n"
        places[len(content)] = (name, 2 * number + 2)
        content += bad + b"\n"
    report = intake.ingest(content)

    assert intake.values() == [ANA] * len(BAD_LINES)
    assert (report.appended, report.rejected) == (len(BAD_LINES), len(BAD_LINES))
    assert report.reasons == tuple(intake.rejected()[:5])
    for entry, (place, (name, number)) in zip(intake.rejected(), places.items(), strict=True):
        bad, reason = BAD_LINES[name]
        assert (entry.source, entry.place, entry.line) == (str(intake.file), place, number)
        assert (entry.value, entry.size_bytes) == (bad[:KEPT_BYTES_MAX], len(bad))
        assert reason in entry.reason


def test_blank_lines_line_ends_and_a_byte_order_mark_do_not_matter(intake) -> None:
    report = intake.ingest(b"\xef\xbb\xbf" + ANA + b"\r\n\r\n   \n" + BOB + b"\r\n\n")

    assert (sorted(intake.values()), report.rejected) == ([ANA, BOB], 0)


def test_an_empty_file_is_fine(intake) -> None:
    report = intake.ingest(b"")

    assert (report.appended, report.rejected, report.lines) == (0, 0, 0)


def test_a_huge_line_is_passed_over_in_bounded_memory(intake) -> None:
    huge = b'{"type":"' + b"x" * 20_000_000 + b'"}'
    intake.file.write_bytes(ANA + b"\n" + huge + b"\n" + BOB + b"\n")

    tracemalloc.start()
    intake.ingest()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sorted(intake.values()) == [ANA, BOB]
    (entry,) = intake.rejected()
    assert (len(entry.value), entry.size_bytes) == (KEPT_BYTES_MAX, len(huge))
    assert entry.reason == "Expected at most 1,048,576 bytes, got 20,000,011"
    assert peak_bytes < 10_000_000


def test_an_unfinished_last_line_is_rejected_until_it_is_whole(intake) -> None:
    first = intake.ingest(ANA + b"\n" + BOB[:40])
    again = intake.ingest()

    assert (first.unfinished, again.unfinished, again.appended) == (True, True, 0)
    (entry,) = intake.rejected()
    assert (entry.value, entry.line) == (BOB[:40], 2)
    assert entry.reason.startswith("unfinished: ")

    whole = intake.ingest(ANA + b"\n" + BOB + b"\n")

    assert (whole.unfinished, whole.appended, intake.rejected()) == (False, 1, [])
    assert sorted(intake.values()) == [ANA, BOB]


def test_an_unfinished_line_that_ends_badly_stays_rejected(intake) -> None:
    intake.ingest(BOB[:40])
    intake.ingest(BOB[:40] + b"\n" + ANA + b"\n")

    assert intake.values() == [ANA]
    assert intake.reasons() == ["JSON is malformed: it ends too early"]


def test_a_whole_last_line_needs_no_line_end(intake) -> None:
    intake.ingest(ANA)
    report = intake.ingest(ANA + b"\n" + BOB + b"\n")

    assert (report.appended, intake.rejected()) == (1, [])
    assert sorted(intake.values()) == [ANA, BOB]


def test_events_of_one_key_keep_their_order_across_blocks(intake) -> None:
    intake.ingest(b"".join(line(order_id=str(number)) + b"\n" for number in range(25_000)))

    assert intake.values() == [line(order_id=str(number)) for number in range(25_000)]


def test_input_of_another_kind_is_refused_as_a_whole(intake) -> None:
    with pytest.raises(InputError, match="none of the first 2,000 lines") as refused:
        intake.ingest(b"carrier,flight\n" + b"UA,1545\n" * 1_999)

    assert refused.value.where == "line 1"
    assert (intake.rejected(), intake.log.source_states()) == ([], {})


def test_standard_input_skips_what_was_sent_before(intake) -> None:
    intake.pipe(ANA + b"\n", source="shop")
    report = intake.pipe(ANA + b"\n" + BOB + b"\n", source="shop")

    assert (report.appended, report.already_there) == (1, 1)
    assert sorted(intake.values()) == [ANA, BOB]


def test_standard_input_that_begins_otherwise_is_refused(intake) -> None:
    intake.pipe(ANA + b"\n", source="shop")

    with pytest.raises(InputError, match="source 'shop' was ingested before"):
        intake.pipe(BOB + b"\n", source="shop")


def test_a_folder_cannot_be_ingested(intake, tmp_path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        intake.ingest(file=tmp_path)
