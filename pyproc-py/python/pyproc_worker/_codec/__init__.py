"""Bytes to messages and values, and back. No input or output here.

`frames` splits a stream into frames; `messages` (version 1) and `binary` (version 2) are what
frames contain. `json_codec`, `msgspec_codec` and `messagepack` decode bodies and encode results.
`results` bounds the size of a result and names the path of a value that cannot be encoded;
`convert` and `arrays` turn values that JSON does not have into such that it has.

What must stay true: all codecs give the same messages, results and errors, and no input raises
anything but the errors of `_errors`.
"""
