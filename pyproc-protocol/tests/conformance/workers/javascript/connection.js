// One client's connection: hello, requests, cancellations, records, and its end.
"use strict";

const { BrokenFrame, FrameReader, KIND, Parts, binaryFrame, checkHeaders, isObject, isText, jsonFrame, parse, text } = require("./frames.js");
const { BinaryCall, JsonCall, invalid, requestId, traceOf } = require("./calls.js");

const AGENT = "conformance-worker-js/1";
const KNOWN_FEATURES = ["error-details", "cancel", "logs", "spans", "metrics"];
const TELEMETRY = ["logs", "spans", "metrics"];
const MOST_WAITING = 1024 * 1024; // bytes of records and answers that a client has not read

class Connection {
  constructor(worker, socket) {
    this.worker = worker;
    this.socket = socket;
    this.reader = new FrameReader();
    this.outstanding = new Map();
    this.version = 1;
    this.features = [];
    this.table = [];
    this.owner = false;
    this.lost = { logs: 0, spans: 0 };
    this.inOrder = Promise.resolve();
    this.ended = false;
    this.farewell = null;
    socket.on("data", (chunk) => this.receive(chunk));
    socket.on("drain", () => socket.resume());
    socket.on("end", () => this.stopReading());
    socket.on("error", () => {});
    socket.on("close", () => this.closed());
  }

  receive(chunk) {
    if (this.ended) return;
    this.reader.add(chunk);
    try {
      for (let body; !this.ended && (body = this.reader.next(this.version === 2)); ) {
        if (body[0] === 0x7b) this.json(body);
        else this.binary(body);
      }
    } catch (error) {
      if (!(error instanceof BrokenFrame)) throw error;
      this.farewell = jsonFrame({ id: 0, ok: false, error: error.message });
      this.stopReading();
    }
  }

  json(body) {
    const message = parse(text(body));
    checkKeys(message);
    const type = message.type ?? null;
    if (type === null) return this.request(body, message);
    if (!isText(type)) throw new BrokenFrame("a type is a text");
    if (type === "request") this.request(body, message.payload);
    else if (type === "cancellation") this.cancel(idOf(message.payload ?? {}));
    else if (type === "response") throw new BrokenFrame("a worker receives no responses");
  }

  request(source, message) {
    const id = idOf(message);
    const { method, body = null } = message;
    if (!isText(method)) throw new BrokenFrame("a method is a text");
    checkHeaders(message.headers ?? {});
    const call = new JsonCall(this, id, method, body);
    call.source = source;
    if (method === "pyproc.hello") this.hello(call);
    else this.start(call);
  }

  hello(call) {
    if (this.greeted || call.id === 0) throw new BrokenFrame("a hello is sent once, with an id");
    this.greeted = true;
    try {
      this.agree(call, call.body);
    } catch (error) {
      this.send(call.failure(error));
    }
  }

  agree(call, body) {
    if (!isObject(body)) throw invalid("a hello is an object");
    const { versions, features, agent, owner } = body;
    if (!Array.isArray(versions) || !versions.every(Number.isFinite)) throw invalid("versions is an array of numbers");
    if (!Array.isArray(features ?? []) || !(features ?? []).every(isText)) throw invalid("features is an array of texts");
    if (!isText(agent ?? "")) throw invalid("agent is a text");
    if (typeof (owner ?? false) !== "boolean") throw invalid("owner is a boolean");
    const version = [2, 1].find((known) => versions.includes(known));
    if (version === undefined) throw invalid("no version is common to both");
    const understood = KNOWN_FEATURES.filter((name) => version === 2 || !TELEMETRY.includes(name));
    this.features = understood.filter((name) => (features ?? []).includes(name));
    this.table = Object.keys(this.worker.functions).sort();
    this.send(call.success(this.introduction(version)));
    this.version = version;
    this.owner = owner === true;
    this.worker.metrics.changed();
  }

  introduction(version) {
    const described = this.table.map((name) => ({ name, doc: "", parameters: {}, returns: {}, concurrent: this.worker.concurrent.has(name) }));
    return { version, features: this.features, agent: AGENT, pid: process.pid, functions: described };
  }

  binary(body) {
    const parts = new Parts(body);
    const [kind, flags, codec] = parts.take(4);
    const id = parts.take(8);
    if (kind >= 0x10) return;
    if (kind === KIND.request) return this.start(this.binaryRequest(requestId(id), flags, codec, parts));
    if (flags & 0x0f) throw new BrokenFrame("an unknown flag");
    if (kind === KIND.cancel) {
      text(parts.rest);
      return this.cancel(Number(id.readBigUInt64BE()));
    }
    parts.end();
    if (kind === KIND.ping) this.send(binaryFrame(KIND.pong, 0, 0, id.readBigUInt64BE()));
    else if (kind !== KIND.drain) throw new BrokenFrame(`a frame of kind ${kind}`);
  }

  binaryRequest(id, flags, codec, parts) {
    const method = flags & 0x01 ? parts.text(2) : this.nameOf(parts.unsigned(2));
    const call = new BinaryCall(this, id, method, null);
    if (flags & 0x02) call.trace = traceOf(parts.take(25).toString("hex"));
    if (flags & 0x04) parts.take(8);
    if (flags & 0x08) this.headers(parts);
    call.body = parts.rest;
    call.codec = codec;
    call.wantsTimes = (flags & 0x10) !== 0;
    return call;
  }

  headers(parts) {
    const headers = Object.create(null);
    const count = parts.unsigned(2);
    if (count > 128) throw new BrokenFrame(`${count} headers`);
    for (let i = 0; i < count; i++) {
      const [name, value] = [parts.text(2), parts.text(2)];
      if (Object.hasOwn(headers, name)) throw new BrokenFrame("a header that occurs twice");
      headers[name] = value;
    }
    checkHeaders(headers);
  }

  /** An index outside of the table is a function that nobody exposes. */
  nameOf(index) {
    return this.table[index] ?? `#${index}`;
  }

  start(call) {
    if (this.draining) return;
    if (!this.outstanding.has(call.id)) this.outstanding.set(call.id, []);
    this.outstanding.get(call.id).push(call);
    if (call.id > 0) call.run();
    else this.inOrder = this.inOrder.then(() => call.run());
  }

  cancel(id) {
    if (id === 0) return;
    for (const call of this.outstanding.get(id) ?? []) call.onCancel();
  }

  answer(call, answer) {
    const calls = this.outstanding.get(call.id).filter((other) => other !== call);
    if (calls.length > 0) this.outstanding.set(call.id, calls);
    else this.outstanding.delete(call.id);
    this.send(answer);
    this.endIfDone();
  }

  send(bytes) {
    this.socket.write(bytes);
    if (this.socket.writableLength > MOST_WAITING) this.socket.pause();
  }

  /** Sends a record, or drops it where the client does not read, and counts it. */
  report(feature, record) {
    if (!this.features.includes(feature)) return;
    const records = this.lost.logs + this.lost.spans > 0 ? [{ type: "lost", ...this.lost }, record] : [record];
    const lines = records.map((it) => JSON.stringify(it) + "\n").join("");
    if (this.socket.writableLength + lines.length > MOST_WAITING) {
      if (feature in this.lost) this.lost[feature] += 1;
      return;
    }
    this.lost = { logs: 0, spans: 0 };
    this.send(binaryFrame(KIND.telemetry, 0, 0, 0, Buffer.from(lines)));
  }

  /** The worker ends: what has arrived is answered, nothing more is taken. */
  drain() {
    if (this.version === 2 && !this.draining) this.send(binaryFrame(KIND.drain, 0, 0, 0));
    this.draining = true;
    this.stopReading();
  }

  stopReading() {
    this.ended = true;
    this.endIfDone();
  }

  endIfDone() {
    if (!this.ended || this.outstanding.size > 0 || this.socket.writableEnded) return;
    if (this.farewell) this.socket.write(this.farewell);
    this.socket.end(() => this.socket.destroy());
  }

  closed() {
    for (const calls of this.outstanding.values()) calls.forEach((call) => call.onCancel());
    this.worker.closed(this);
  }
}

/** 0 if a message has none. */
function idOf(message) {
  checkKeys(message);
  const id = message.id ?? 0;
  if (!Number.isSafeInteger(id) || id < 0) throw new BrokenFrame("an id is an integer from 0 to 2^53 - 1");
  return id;
}

function checkKeys(message) {
  if (!isObject(message)) throw new BrokenFrame("a message is an object");
  if (!Object.keys(message).every(isText)) throw new BrokenFrame("a key is a text");
}

module.exports = { Connection };
