"""Attribute values as the collector writes them; test_direct.py compares with the real one."""

from typing import Any

import pytest

from telemetry.clickhouse.values import NotEncodable, as_string, attribute_map, sendable, span_id, trace_id


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("ä", "ä"),
        (True, "true"),
        (2**63 - 1, "9223372036854775807"),
        (3.0, "3"),
        (-0.0, "-0"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (1.5e-9, "1.5e-9"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", "AP8="),
        ([], "[]"),
        ((1, 1.0, None, False, "<&>", b"\x01"), '[1,1,null,false,"<&>","AQ=="]'),
        ({"b": {"z": 1, "a": []}, "a": "\u2028\n"}, '{"a":"\\u2028\\n","b":{"a":[],"z":1}}'),
        ([float("nan")], ""),
    ],
)
def test_values_as_strings(value: Any, text: str) -> None:
    assert as_string(value) == text


def test_what_otlp_cannot_carry_is_left_out() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    attributes = {"z": 1, "too large": 2**63, "inside": [2**64], "object": object(), "deep": deep, "a": "kept"}
    assert attribute_map(attributes) == {"a": "kept", "z": "1"}
    assert list(attribute_map({"z": 1, "a": 2})) == ["a", "z"]  # the exporter sorts
    assert attribute_map(None) == {}
    with pytest.raises(NotEncodable):
        as_string(object())


def test_ids() -> None:
    assert trace_id(255) == "0" * 30 + "ff"
    assert span_id(255) == "0" * 14 + "ff"
    assert trace_id(0) == span_id(None) == ""


def test_lone_surrogates_become_question_marks() -> None:
    assert sendable([["a\ud800", 1, {"k\udfff": ["ä"]}]]) == [["a?", 1, {"k?": ["ä"]}]]
