"""The native core's JSON is that of the codecs in Python."""

import decimal
import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker import EncodeError, InvalidRequest
from pyproc_worker._codec.json_codec import StandardCodec
from test_codecs import CONVERSIONS, REFUSALS, json_values, values

core = pytest.importorskip("pyproc_worker._core")
STANDARD = StandardCodec()


@pytest.mark.parametrize(("value", "wanted"), CONVERSIONS, ids=lambda value: repr(value)[:40])
def test_results_are_converted(value, wanted):
    read = json.loads(core.dumps(value).decode("utf-8"))
    assert read == wanted
    assert type(read) is type(wanted)


@pytest.mark.parametrize(("value", "message"), REFUSALS, ids=lambda value: repr(value)[:40])
def test_what_json_cannot_carry_is_refused_with_its_path(value, message):
    with pytest.raises(EncodeError) as caught:
        core.dumps(value)
    assert str(caught.value) == message


@given(values)
def test_results_are_those_of_the_standard_codec(value):
    assert repr(json.loads(core.dumps(value))) == repr(json.loads(STANDARD.encode(value)))


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_what_python_wrote_is_read(value, ascii_only, indent):
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert repr(core.loads(document)) == repr(value)


def outcome(read, document):
    """The value as text, for NaN's sake and for the types; or the refusal."""
    try:
        return repr(read(document))
    except InvalidRequest as error:
        return f"refused: {error}"


PIECES = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", '"', '"a"', '"\\u00e9"', "\\", "\\ud800", "\\udc00", "\\n", " ",
     "\n", "\t", "\x00", "é", "-", "0", "12", "1.5", "1e5", "1E-400", "1e999", ".", "+", "true",
     "fals", "null", "NaN", "Infinity", "9" * 18, "9" * 19, "9" * 25, "/"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
def test_any_text_is_read_or_refused_as_by_the_standard_codec(text):
    document = text.encode("utf-8", "surrogatepass").lstrip()  # its reader skips no space in front
    assert outcome(core.loads, document) == outcome(STANDARD.decode_body, document)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_by_the_standard_codec(document):
    document = document.lstrip()
    assert outcome(core.loads, document) == outcome(STANDARD.decode_body, document)


@given(st.dictionaries(st.text(max_size=70), st.integers(), max_size=20))
def test_keys_of_any_length_are_read_whatever_was_read_before(value):
    rows = [value, {key[:-1] + "x": item for key, item in value.items() if key}, value]
    assert core.loads(json.dumps(rows).encode()) == rows


@given(st.lists(st.text(max_size=17), max_size=30))
def test_texts_are_read_whatever_was_read_before(texts):
    alike = [text[:-1] for text in texts] + [text + "x" for text in texts]
    document = json.dumps([texts, alike, texts, alike, texts], ensure_ascii=False).encode()
    assert core.loads(document) == [texts, alike, texts, alike, texts]


def test_a_short_text_that_comes_again_is_one_object():
    once, again, third, other = core.loads(
        b'["fifteen letters", "fifteen letters", "fifteen letters", "fifteen_letters"]'
    )
    assert again is third
    assert [once, again, other] == ["fifteen letters", "fifteen letters", "fifteen_letters"]


KEYS = st.text(max_size=40) | st.sampled_from(
    ["", '"', "\n", "é" * 13, "x" * 27, "x" * 28, "x" * 29]
)


@given(st.lists(KEYS, min_size=1, max_size=100), st.integers(5, 9))
def test_keys_of_rows_are_written_alike_in_each(keys, count):
    row = {key: {"of": index} for index, key in enumerate(keys)}
    rows = [row] * count + [{str(key): 1 for key in row}] + [{key + "y": 1} for key in row]
    assert json.loads(core.dumps(rows)) == rows


def test_keys_that_a_conversion_makes_and_drops_do_no_harm():
    class Number(decimal.Decimal):
        def __str__(self):
            rows[:-1] = []
            return "x"

    rows = [{f"key-{i}-{j}": Number(1) for j in range(3)} for i in range(200)]
    fresh = [{f"{i}": {f"{i}-a": Number(i)} for i in range(200)}]
    json.loads(core.dumps(rows))
    assert list(json.loads(core.dumps(fresh))[0]) == [str(i) for i in range(200)]


DIGITS = st.text("0123456789", min_size=1, max_size=26)


@given(st.sampled_from(["", "-"]), st.integers(0, 10**20).map(str), DIGITS)
def test_decimal_fractions_are_read_exactly_rounded(sign, whole, decimals):
    document = f"{sign}{whole}.{decimals}"
    assert repr(core.loads(document.encode())) == repr(float(document))


@pytest.mark.parametrize(
    "document",
    ["9007199254740992.0", "9007199254740993.0", "-0.0", "0.1", "123456789012345678.5", "0." + "0" * 17
     + "1", "0." + "0" * 18 + "1", "9007199254740.993", "0.30000000000000004"],
)  # fmt: skip
def test_decimal_fractions_at_the_bounds_of_the_fast_way(document):
    assert repr(core.loads(document.encode())) == repr(float(document))


def test_a_number_too_large_for_a_float_is_infinite_without_a_second_reading():
    # The standard codec, which takes what the core leaves, skips no space in front.
    assert core.loads(b" [1e999, -1e999]") == [float("inf"), float("-inf")]


@pytest.mark.parametrize("size", range(70))
def test_strings_of_each_length_are_written_whole(size):
    text = "abcdefghijklmnopqrstuvwxyz0123456789" * 2
    for made in (text[:size], "é" + text[:size], text[:size] + "\t"):
        assert (
            core.dumps([made, {made: made}])
            == json.dumps([made, {made: made}], ensure_ascii=False, separators=(",", ":")).encode()
        )


@pytest.mark.parametrize("at", range(70))
def test_an_escape_is_seen_wherever_it_stands(at):
    for special in ('"', "\\", "\n", "\x00", "\x1f"):
        text = "x" * at + special + "é" * 3 + special
        written = core.dumps(text)
        assert json.loads(written) == text
        assert core.loads(written) == text
    assert outcome(core.loads, b'"' + b"x" * at + b'\x1f"').startswith("refused")


@pytest.mark.parametrize("enabled", [True, False])
def test_a_large_document_leaves_the_garbage_collector_as_it_was(enabled):
    document = json.dumps([{"a": i} for i in range(5000)]).encode()
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        assert core.loads(document)[-1] == {"a": 4999}
        assert gc.isenabled() is enabled
        assert outcome(core.loads, document[:-1]).startswith("refused")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_a_list_that_a_conversion_shortens_does_no_harm():
    class Number(decimal.Decimal):
        def __str__(self):
            rows.clear()
            return "gone"

    rows = [Number(1), "a", "b"]
    assert core.dumps(rows) == b'["gone"]'


def test_a_dict_that_a_conversion_changes_does_no_harm():
    class Number(decimal.Decimal):
        def __str__(self):
            row.clear()
            row.update({str(i): i for i in range(1000)})
            return "changed"

    row = {"a": Number(1), "b": 2}
    assert json.loads(core.dumps(row))["a"] == "changed"


@given(st.integers(-(10**17), 10**17), st.integers(0, 5))
def test_short_decimals_are_written_as_the_shortest_that_means_them(number, decimals):
    value = number / 10**decimals
    written = core.dumps([value]).decode()[1:-1]
    assert repr(float(written)) == repr(value)
    if 1e-3 <= abs(value) < 1e12:
        assert written == repr(value)


@pytest.mark.parametrize("value", [0.0, -0.0, 0.5, -0.25, 0.001, -0.001, 12.34, 1e12 - 0.001, 1e12])
def test_short_decimals_at_the_bounds_of_the_fast_way(value):
    assert core.dumps(value).decode() == repr(value)
