"""Rows of CSV and Parquet become events of one type, or what a function of the project makes of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from control.crashing import Crashes, CrashingLog

from kappa import Event
from kappa.control.ingest import AsType, ByFunction, InputFormat
from kappa.control.ingest.source import KEPT_BYTES_MAX
from kappa.errors import InputError
from kappa.model.events import encode_event


class OrderPlaced(Event, version=2):
    user_id: str
    amount: Decimal
    items: int = 1
    gift: bool = False
    note: str | None = None
    due_at: datetime | None = None

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return old


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADER = b"user_id,amount,timestamp,items,gift,note,due_at\n"


@pytest.fixture
def csv(intake, tmp_path: Path):
    """Ingest CSV rows as orders."""
    intake.mapping = AsType(OrderPlaced, text=True)
    intake.file = tmp_path / "orders.csv"
    return intake


def order(user_id: str, amount: str, **fields: Any) -> bytes:
    return encode_event(OrderPlaced(user_id=user_id, amount=Decimal(amount), timestamp=NOON, **fields))


def test_text_becomes_what_the_fields_types_say(csv) -> None:
    csv.ingest(HEADER + b"ana,1.50,2026-03-01T12:00:00Z,3,true,hello,2026-03-02T00:00:00Z\n")

    assert csv.values() == [
        order("ana", "1.50", items=3, gift=True, note="hello", due_at=datetime(2026, 3, 2, tzinfo=UTC))
    ]


def test_empty_text_is_none_where_a_field_allows_none(csv) -> None:
    csv.ingest(HEADER + b"ana,1.50,2026-03-01T12:00:00Z,3,false,,\n")

    assert csv.values() == [order("ana", "1.50", items=3)]


def test_columns_that_the_type_does_not_have_are_left_out(csv) -> None:
    csv.ingest(b"user_id,amount,timestamp,colour\nana,1,2026-03-01T12:00:00Z,red\n")

    assert csv.values() == [order("ana", "1")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"ana,x,2026-03-01T12:00:00Z,1,true,,", "Invalid decimal string - at `$.amount`"),
        (b"ana,1,2026-03-01T12:00:00Z,many,true,,", "Expected `int`, got `str` - at `$.items`"),
        (b"ana,1,2026-03-01T12:00:00,1,true,,", "with a timezone component"),
        (b"ana,1,,1,true,,", "at `$.timestamp`"),
        (b",1,2026-03-01T12:00:00Z,1,true,,", "length >= 1 - at `$.user_id`"),
        (b"ana,1,2026-03-01T12:00:00Z,1,true,", "Expected 7 columns, got 6"),
        (b"ana,1,2026-03-01T12:00:00Z,1,true,\xff,", "Expected UTF-8, got b'\\xff'"),
        (b'ana,1,2026-03-01T12:00:00Z,1,true,"a"b,', "Expected CSV, got a fault"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_and_the_others_go_on(csv, row: bytes, reason: str) -> None:
    report = csv.ingest(HEADER + row + b"\nbob,2,2026-03-01T12:00:00Z,1,false,,\n")

    assert (report.appended, report.rejected) == (1, 1)
    (entry,) = csv.rejected()
    assert reason in entry.reason
    assert (entry.place, entry.line) == (len(HEADER), 2)


def test_a_row_without_a_timestamp_column_is_rejected(csv) -> None:
    """The class has a default for tests; in the log it would be a lie about 1970."""
    csv.ingest(b"user_id,amount\nana,1\n")

    assert csv.reasons() == ["Expected a timestamp in OrderPlaced, got none"]


def test_quoted_fields_may_hold_commas_quotes_and_line_ends(csv) -> None:
    csv.ingest(HEADER + b'ana,1,2026-03-01T12:00:00Z,1,false,"a, ""b""\nc",\nana,2,2026-03-01T12:00:00Z,1,false,,\n')

    assert csv.values() == [order("ana", "1", note='a, "b"\nc'), order("ana", "2")]


def test_a_csv_file_goes_on_where_it_ended(csv) -> None:
    rows = b"".join(b"ana,%d,2026-03-01T12:00:00Z,1,false,,\n" % number for number in range(12_000))
    csv.ingest(HEADER + rows)
    report = csv.ingest(HEADER + rows + b"ana,-1,2026-03-01T12:00:00Z,1,false,,\n")

    assert (report.appended, report.already_there, report.lines) == (1, 12_000, 12_002)
    assert csv.values() == [order("ana", str(number)) for number in [*range(12_000), -1]]


def test_an_unfinished_last_row_is_rejected_until_it_is_whole(csv) -> None:
    csv.ingest(HEADER + b"ana,1,2026-03-01T12:00:00Z,1,false,,\nbob,2,2026-03-")
    assert csv.reasons() == ["unfinished: the input ends here without a line end: Expected 7 columns, got 3"]

    csv.ingest(HEADER + b"ana,1,2026-03-01T12:00:00Z,1,false,,\nbob,2,2026-03-01T12:00:00Z,1,false,,\n")
    assert (csv.reasons(), sorted(csv.values())) == ([], [order("ana", "1"), order("bob", "2")])


def test_an_open_quote_at_the_end_may_still_be_closed(csv) -> None:
    csv.ingest(HEADER + b'ana,1,2026-03-01T12:00:00Z,1,false,"a\n')
    assert csv.reasons()[0].startswith("unfinished: ")

    csv.ingest(HEADER + b'ana,1,2026-03-01T12:00:00Z,1,false,"a\nb",\n')
    assert (csv.reasons(), csv.values()) == ([], [order("ana", "1", note="a\nb")])


@pytest.mark.parametrize("content", [b"", HEADER, b"\n\n" + HEADER + b"\n"])
def test_a_file_without_rows_is_fine(csv, content: bytes) -> None:
    report = csv.ingest(content)

    assert (report.appended, report.rejected) == (0, 0)


@pytest.mark.parametrize("header", [b"user_id,amount,user_id\n", b"user_id,,amount\n"])
def test_a_header_names_each_column_once(csv, header: bytes) -> None:
    with pytest.raises(InputError, match="must name each column once"):
        csv.ingest(header + b"ana,1,2\n")


def departures(row: dict[str, Any]) -> Iterator[Event]:
    if row["amount"] == "boom":
        raise LookupError("no such amount")
    if row["amount"] == "text":
        yield row["user_id"]
    if row["amount"] == "wrong":
        yield OrderPlaced(user_id=row["user_id"], amount="many", timestamp=NOON)  # type: ignore[arg-type]
    if row["amount"] == "early":
        yield OrderPlaced(user_id=row["user_id"], amount=Decimal(1))
    for _ in range(int(row["items"])):
        yield OrderPlaced(user_id=row["user_id"], amount=Decimal(row["amount"]), timestamp=NOON)


def test_a_function_makes_any_number_of_events_of_a_row(csv) -> None:
    csv.mapping = ByFunction(departures, "shop:departures")
    report = csv.ingest(b"user_id,amount,items\nana,1,2\nbob,2,0\n")

    assert (csv.values(), report.appended, report.rejected) == ([order("ana", "1")] * 2, 2, 0)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("boom", "shop:departures raised LookupError: no such amount"),
        ("text", "Expected an event, got `str`"),
        ("wrong", "OrderPlaced: Invalid decimal string - at `$.amount`"),
        ("early", "Expected a timestamp in OrderPlaced, got none"),
    ],
)
def test_a_row_of_which_an_event_fails_gives_none_at_all(csv, amount: str, reason: str) -> None:
    csv.mapping = ByFunction(departures, "shop:departures")
    csv.ingest(f"user_id,amount,items\nana,{amount},0\n".encode())

    assert (csv.values(), csv.reasons()) == ([], [reason])


def test_a_function_maps_lines_of_json_too(intake) -> None:
    intake.mapping = ByFunction(departures, "shop:departures")
    intake.ingest(b'{"user_id":"ana","amount":"1","items":1}\n[]\n')

    assert intake.values() == [order("ana", "1")]
    assert intake.reasons() == ["Expected `object`, got `array`"]


def parquet(file: Path, sql: str) -> Path:
    duckdb.sql(f"COPY ({sql}) TO '{file}' (FORMAT parquet)")
    return file


ORDERS = "SELECT 'ana' AS user_id, 1.50::DECIMAL(9, 2) AS amount, TIMESTAMPTZ '2026-03-01 12:00:00+00' AS timestamp"


def test_parquet_rows_become_events(intake, tmp_path: Path) -> None:
    intake.mapping = AsType(OrderPlaced, text=False)
    file = parquet(tmp_path / "orders.parquet", f"{ORDERS}, 3 AS items, NULL::VARCHAR AS note")
    intake.ingest(file=file)
    again = intake.ingest(file=file)

    assert intake.values() == [order("ana", "1.50", items=3)]
    assert (again.appended, again.already_there) == (0, 1)


def test_parquet_goes_on_after_any_row(intake, tmp_path: Path) -> None:
    intake.mapping = AsType(OrderPlaced, text=False)
    file = parquet(
        tmp_path / "orders.parquet",
        f"{ORDERS.replace('1.50', 'n')} FROM range(25000) numbers(n)",
    )
    log, intake.log = intake.log, CrashingLog(intake.log, at=1, committed=True)
    with pytest.raises(Crashes):
        intake.ingest(file=file)
    intake.log = log
    report = intake.ingest(file=file)

    assert (report.appended, report.already_there) == (15_000, 10_000)
    assert intake.values() == [order("ana", f"{number}.00") for number in range(25_000)]


def test_another_parquet_file_under_the_same_name_is_refused(intake, tmp_path: Path) -> None:
    intake.mapping = AsType(OrderPlaced, text=False)
    file = parquet(tmp_path / "orders.parquet", ORDERS)
    intake.ingest(file=file)
    parquet(file, f"{ORDERS} UNION ALL {ORDERS}")

    with pytest.raises(InputError, match="have changed"):
        intake.ingest(file=file)


def test_a_parquet_time_without_a_zone_is_rejected(intake, tmp_path: Path) -> None:
    intake.mapping = AsType(OrderPlaced, text=False)
    intake.ingest(
        file=parquet(
            tmp_path / "orders.parquet",
            "SELECT 'ana' AS user_id, 1 AS amount, TIMESTAMP '2026-03-01 12:00:00' AS timestamp",
        )
    )

    (reason,) = intake.reasons()
    assert "timezone" in reason


def test_a_file_that_is_no_parquet_is_refused(intake, tmp_path: Path) -> None:
    (tmp_path / "orders.parquet").write_bytes(b"user_id,amount\n")

    with pytest.raises(InputError, match="as Parquet"):
        intake.ingest(file=tmp_path / "orders.parquet")


def test_parquet_without_duckdb_says_what_to_install(intake, tmp_path: Path, monkeypatch) -> None:
    file = parquet(tmp_path / "orders.parquet", ORDERS)
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(InputError) as refused:
        intake.ingest(file=file)
    assert refused.value.next_step == "install the extra: pip install 'kappa-pipeline[parquet]'"


def test_parquet_is_not_read_from_standard_input(intake) -> None:
    with pytest.raises(InputError, match="standard input"):
        intake.pipe(b"", source="x", format_=InputFormat.PARQUET)


def test_csv_is_read_from_standard_input(csv) -> None:
    csv.pipe(HEADER + b"ana,1,2026-03-01T12:00:00Z,1,false,,\n", source="orders", format_=InputFormat.CSV)

    assert csv.values() == [order("ana", "1")]


def test_a_rejected_row_is_kept_as_json(csv) -> None:
    csv.ingest(b"user_id,amount,timestamp\nana,x,2026-03-01T12:00:00Z\n")

    (entry,) = csv.rejected()
    assert msgspec.json.decode(entry.value) == {"user_id": "ana", "amount": "x", "timestamp": "2026-03-01T12:00:00Z"}


def test_a_large_rejected_row_is_kept_in_part(csv) -> None:
    row = b'bob,1,2026-03-01T12:00:00,1,true,"' + b'""' * 50_000 + b'",\n'
    csv.ingest(HEADER + row)

    (entry,) = csv.rejected()
    assert len(entry.value) == KEPT_BYTES_MAX < entry.size_bytes


def test_a_row_that_is_no_csv_is_kept_as_it_is(csv) -> None:
    csv.ingest(HEADER + b'bob,1,"2026\n-03"x,1\n')

    assert [(entry.value, entry.size_bytes) for entry in csv.rejected()] == [(b'bob,1,"2026\n-03"x,1', 19)]
