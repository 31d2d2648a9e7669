from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker._codec.frames import FrameReader
from pyproc_worker._errors import BrokenFrame
from wire import frame

bodies = st.lists(st.binary(max_size=300).map(lambda rest: b"{" + rest), min_size=1, max_size=8)


def read(*pieces, maximum=10_000):
    reader = FrameReader(maximum)
    frames = [bytes(body) for piece in pieces for body in reader.feed(piece)]
    return frames, reader.error


def one_by_one(data):
    return [data[i : i + 1] for i in range(len(data))]


@given(bodies)
def test_frames_survive_whole_and_byte_by_byte(bodies):
    stream = b"".join(map(frame, bodies))
    assert read(stream) == (bodies, None)
    assert read(*one_by_one(stream)) == (bodies, None)


@given(bodies, st.data())
def test_frames_survive_any_cut(bodies, data):
    stream = b"".join(map(frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in zip(edges, edges[1:]) if a != b]
    assert read(*pieces) == (bodies, None)


@given(bodies, st.data())
def test_a_frame_that_has_begun_waits_for_more_bytes(bodies, data):
    rest = frame(b"{}")[: data.draw(st.integers(1, 5))]
    reader = FrameReader(10_000)
    assert reader.feed(b"".join(map(frame, bodies)) + rest) == bodies
    assert reader.error is None
    assert reader.feed(frame(b"{}")[len(rest) :]) == [b"{}"]


@given(st.binary(max_size=2000))
def test_any_bytes_give_frames_or_more_or_a_typed_error(data):
    frames, error = read(data, maximum=1000)
    assert all(body[:1] == b"{" and len(body) <= 1000 for body in frames)
    assert error is None or isinstance(error, BrokenFrame)
    again, same_error = read(*one_by_one(data), maximum=1000)
    assert (again, repr(same_error)) == (frames, repr(error))


def test_the_frames_before_a_broken_one_are_returned():
    frames, error = read(frame(b"{1}") + frame(b"[2]") + frame(b"{3}"))
    assert frames == [b"{1}"]
    assert "0x5b" in str(error)


def test_a_wrong_length_is_reported_without_another_byte():
    for length in (0, 10_001, 2**32 - 1):
        frames, error = read(length.to_bytes(4, "big"))
        assert frames == []
        assert str(length) in str(error)


def test_the_longest_frame_is_accepted():
    body = b"{" + bytes(9_999)
    assert read(frame(body)) == ([body], None)


def test_nothing_follows_a_broken_frame():
    reader = FrameReader(10_000)
    reader.feed(bytes(4))
    assert reader.feed(frame(b"{}")) == []
