// A request, from its arrival to its answer.
"use strict";

const crypto = require("node:crypto");

const { BrokenFrame, CODEC, KIND, MAXIMUM, binaryFrame, jsonFrame, text, unsigned } = require("./frames.js");

const LONGEST_MESSAGE = 16 * 1024;
const TOO_LONG = "an error too long for a frame";

/** An error that names its type on the wire. */
class Failure extends Error {
  constructor(type, message) {
    super(message);
    this.type = type;
  }
}

function invalid(message) {
  return new Failure("pyproc_worker.InvalidRequest", message);
}

function typeOf(error) {
  return error.type ?? error.name;
}

/** Nanoseconds since the epoch. JSON.stringify writes numbers of this size without fraction and exponent. */
function now() {
  return Date.now() * 1_000_000;
}

class Call {
  constructor(connection, id, method, body) {
    this.connection = connection;
    this.id = id;
    this.method = method;
    this.body = body;
    this.trace = null;
    this.onCancel = () => {};
  }

  async run() {
    let answer;
    try {
      const functions = this.connection.worker.functions;
      if (!Object.hasOwn(functions, this.method)) {
        throw new Failure("pyproc_worker.MethodNotFound", `Method '${this.method}' not found`);
      }
      const argument = this.argument();
      this.started = now();
      const result = await functions[this.method](argument, this);
      answer = this.success(result);
    } catch (error) {
      answer = this.failure(error);
    }
    this.connection.answer(this, answer);
  }

  warn(text) {
    const message = text.slice(0, LONGEST_MESSAGE);
    this.connection.report("logs", { type: "log", time: now(), level: 30, message, logger: "worker", function: this.method, ...this.trace });
  }

  span(text, start) {
    if (!this.trace) return;
    const { trace_id, span_id: parent_span_id, trace_flags } = this.trace;
    const span_id = crypto.randomBytes(8).toString("hex");
    const name = text.slice(0, LONGEST_MESSAGE);
    const times = { start, end: now() };
    this.connection.report("spans", { type: "span", trace_id, span_id, parent_span_id, trace_flags: parseInt(trace_flags, 16), name, ...times });
  }
}

class JsonCall extends Call {
  argument() {
    return checkNumbers(this.source, this.body);
  }

  success(result) {
    if (Buffer.isBuffer(result)) throw new Failure("pyproc_worker.EncodeError", "result: bytes are no JSON");
    const answer = jsonFrame({ id: this.id, ok: true, body: result ?? null });
    if (answer.length - 4 > MAXIMUM) throw tooLarge(answer);
    return answer;
  }

  failure(error) {
    const answer = { id: this.id, ok: false, error: error.message };
    if (this.connection.features.includes("error-details")) answer.headers = { "pyproc-error-type": typeOf(error) };
    const whole = jsonFrame(answer);
    return whole.length - 4 <= MAXIMUM ? whole : jsonFrame({ ...answer, error: TOO_LONG });
  }
}

class BinaryCall extends Call {
  argument() {
    if (this.codec === CODEC.raw) return this.body;
    if (this.codec !== CODEC.json) throw invalid(`codec ${this.codec} is unknown`);
    try {
      return checkNumbers(this.body, JSON.parse(text(this.body)));
    } catch (error) {
      throw invalid(error.message);
    }
  }

  success(result) {
    const isRaw = Buffer.isBuffer(result);
    const payload = isRaw ? result : Buffer.from(JSON.stringify(result ?? null));
    const answer = binaryFrame(KIND.response, this.timesFlag(), isRaw ? CODEC.raw : CODEC.json, this.id, this.times(), payload);
    if (answer.length - 4 > MAXIMUM) throw tooLarge(answer);
    return answer;
  }

  failure(error) {
    const [type, message] = [typeOf(error), error.message].map((part) => Buffer.from(part));
    const parts = [this.times(), unsigned(2, type.length), type, unsigned(4, message.length), message];
    const whole = binaryFrame(KIND.error, this.timesFlag(), 0, this.id, ...parts);
    return whole.length - 4 <= MAXIMUM ? whole : this.failure(new Failure(typeOf(error), TOO_LONG));
  }

  timesFlag() {
    return this.wantsTimes && this.started ? 0x01 : 0;
  }

  times() {
    if (!this.timesFlag()) return Buffer.alloc(0);
    return Buffer.concat([unsigned(8, this.started), unsigned(8, now() - this.started)]);
  }
}

function requestId(bytes) {
  const id = Number(bytes.readBigUInt64BE());
  if (!Number.isSafeInteger(id) || id < 1) throw new BrokenFrame("an id is an integer from 1 to 2^53 - 1");
  return id;
}

/** A number that a double has no room for must not become null on its way back. */
function checkNumbers(source, value) {
  if (/[eE]\+?\d{3}|\d{309}/.test(source) && hasInfinity(value)) throw invalid("a number is too large");
  return value;
}

function hasInfinity(value) {
  if (typeof value !== "object" || value === null) return value === Infinity || value === -Infinity;
  return Object.values(value).some(hasInfinity);
}

/** The span in which a function runs. Zeros mean that there is none. */
function traceOf(digits) {
  const [trace_id, span_id, trace_flags] = [digits.slice(0, 32), digits.slice(32, 48), digits.slice(48)];
  return /^0+$/.test(trace_id) || /^0+$/.test(span_id) ? null : { trace_id, span_id, trace_flags };
}

function tooLarge(answer) {
  return new Failure("pyproc_worker.EncodeError", `result: a frame of ${answer.length - 4} bytes; the maximum is ${MAXIMUM}`);
}

module.exports = { BinaryCall, Failure, JsonCall, invalid, now, requestId, traceOf };
