// Bytes to bodies and their parts, and back: sections 1 of SPEC.md and SPEC-V2.md.
"use strict";

const MAXIMUM = Number(process.env.PYPROC_MAX_FRAME_SIZE || 10 * 1024 * 1024);
const KIND = { request: 1, response: 2, error: 3, cancel: 4, ping: 8, pong: 9, drain: 10, telemetry: 16 };
const CODEC = { json: 0, raw: 2 };
const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A frame that ends the connection. */
class BrokenFrame extends Error {}

function frame(...parts) {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

function jsonFrame(message) {
  return frame(Buffer.from(JSON.stringify(message)));
}

function binaryFrame(kind, flags, codec, id, ...parts) {
  const header = Buffer.alloc(12);
  header[0] = kind;
  header[1] = flags;
  header[2] = codec;
  header.writeBigUInt64BE(BigInt(id), 4);
  return frame(header, ...parts);
}

function unsigned(size, value) {
  const bytes = Buffer.alloc(size);
  if (size === 8) bytes.writeBigUInt64BE(BigInt(value));
  else bytes.writeUIntBE(value, 0, size);
  return bytes;
}

/** Cuts the stream into bodies. It throws at the first broken frame; those before it have been returned. */
class FrameReader {
  constructor() {
    this.pending = Buffer.alloc(0);
    this.chunks = [];
    this.missing = 0; // bytes until the frame that has begun is whole
  }

  add(chunk) {
    this.chunks.push(chunk);
    this.missing -= chunk.length;
    if (this.missing <= 0) {
      this.pending = Buffer.concat([this.pending, ...this.chunks]);
      this.chunks = [];
    }
  }

  next(acceptsVersion2) {
    if (this.chunks.length > 0 || this.pending.length < 4) return null;
    const length = this.pending.readUInt32BE();
    if (length === 0 || length > MAXIMUM) throw new BrokenFrame(`a frame of ${length} bytes; 1 to ${MAXIMUM} are allowed`);
    if (this.pending.length > 4) checkVersion(this.pending[4], acceptsVersion2);
    if (this.pending.length < 4 + length) {
      this.missing = 4 + length - this.pending.length;
      return null;
    }
    const body = this.pending.subarray(4, 4 + length);
    this.pending = this.pending.subarray(4 + length);
    return body;
  }
}

function checkVersion(first, acceptsVersion2) {
  if (first === 0x7b || (acceptsVersion2 && first < 0x20)) return;
  throw new BrokenFrame(`a frame that begins with byte ${first}`);
}

/** Reads the parts of a binary frame one after the other. */
class Parts {
  constructor(body) {
    this.rest = body;
  }

  take(length) {
    if (this.rest.length < length) throw new BrokenFrame("a frame that ends too early");
    const part = this.rest.subarray(0, length);
    this.rest = this.rest.subarray(length);
    return part;
  }

  unsigned(size) {
    const part = this.take(size);
    return size === 8 ? Number(part.readBigUInt64BE()) : part.readUIntBE(0, size);
  }

  text(sizeOfLength) {
    return text(this.take(this.unsigned(sizeOfLength)));
  }

  end() {
    if (this.rest.length > 0) throw new BrokenFrame("bytes after the last part");
  }
}

function text(bytes) {
  try {
    return UTF_8.decode(bytes);
  } catch {
    throw new BrokenFrame("text that is not UTF-8");
  }
}

function parse(source) {
  try {
    return JSON.parse(source);
  } catch (error) {
    throw new BrokenFrame(error.message);
  }
}

/** A text of the message itself, which is Unicode: without lone surrogates. */
function isText(value) {
  return typeof value === "string" && !/\p{Surrogate}/u.test(value);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkHeaders(headers) {
  if (!isObject(headers)) throw new BrokenFrame("headers are an object of strings");
  const entries = Object.entries(headers);
  if (!entries.flat().every(isText)) throw new BrokenFrame("a header is a text");
  if (entries.length > 128) throw new BrokenFrame(`${entries.length} headers`);
  const size = entries.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  if (size > 64 * 1024) throw new BrokenFrame(`headers of ${size} bytes`);
}

module.exports = {
  BrokenFrame, CODEC, FrameReader, KIND, MAXIMUM, Parts, binaryFrame, checkHeaders, isObject, isText, jsonFrame, parse, text, unsigned,
};
