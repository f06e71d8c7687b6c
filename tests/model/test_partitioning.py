"""Where a key belongs, for ever: Kafka's own hash, and keys that are read as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.model.partitioning import group_partitions, murmur2, partition_of
from kappa.model.schema import BadKey, Column, ColumnType, decode_key, encode_key

# From org.apache.kafka.common.utils.UtilsTest.testMurmur2: signed, as Java has them.
KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
TEXT = Column("name", ColumnType.TEXT)
NUMBER = Column("number", ColumnType.INTEGER)

texts = st.text(st.characters(codec="utf-8"))
integers = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("key", KAFKA)
def test_the_hash_is_that_of_kafka(key):
    assert murmur2(key) == KAFKA[key] % 2**32


@given(st.binary(max_size=30), st.integers(1, 1_024))
def test_every_key_has_a_partition(key, partition_count):
    assert partition_of(key, partition_count) == (murmur2(key) & 0x7FFFFFFF) % partition_count
    assert partition_of(None, partition_count) == 0


@given(st.integers(1, 20), st.integers(1, 40))
def test_every_partition_has_one_group(group_count, partition_count):
    groups = [
        group_partitions(group, group_count=group_count, partition_count=partition_count)
        for group in range(group_count)
    ]

    assert sorted(partition for group in groups for partition in group) == list(range(partition_count))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (("UA",), b"UA"),
        ((42,), b"42"),
        ((-1,), b"-1"),
        (("UA", 3), b'["UA",3]'),
        (("ü", 'a"b'), b'["\xc3\xbc","a\\"b"]'),
    ],
)
def test_a_key_is_plain_text_or_a_json_array(values, key):
    assert encode_key(values) == key


@given(texts)
def test_a_text_is_read_as_it_was_written(text):
    assert decode_key(encode_key((text,)), (TEXT,)) == (text,)


@given(integers)
def test_a_number_is_read_as_it_was_written(number):
    assert decode_key(encode_key((number,)), (NUMBER,)) == (number,)


@given(st.tuples(texts, integers, texts))
def test_several_values_are_read_as_they_were_written(values):
    assert decode_key(encode_key(values), (TEXT, NUMBER, TEXT)) == values


@given(st.tuples(texts, integers), st.tuples(texts, integers))
def test_different_values_have_different_keys(one, other):
    assert (encode_key(one) == encode_key(other)) == (one == other)


@given(st.binary(max_size=12) | st.sampled_from([b"07", b'["a",07]', b'["a", 7]', b"9" * 30, b'["\\u0061",7]']))
def test_no_two_keys_are_read_as_the_same_values(key):
    for columns in ((TEXT,), (NUMBER,), (TEXT, NUMBER)):
        try:
            values = decode_key(key, columns)
        except BadKey:
            continue
        assert encode_key(values) == key
