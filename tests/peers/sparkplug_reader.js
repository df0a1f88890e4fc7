// Reads Sparkplug payloads with npm's sparkplug-payload: a line of hex in, a line of JSON out.
// "encode " before a JSON object encodes it instead, and answers in hex.
const readline = require("readline");
const sparkplug = require("sparkplug-payload").get("spBv1.0");
const raw = require("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf.Payload;

function show(_key, value) {
  if (value && typeof value === "object" && "low" in value && "high" in value) return Number(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

function read(bytes) {
  const decoded = sparkplug.decodePayload(bytes);
  const message = raw.decode(bytes);
  // The library gives a value only where its data type stands beside it, which DDATA leaves to the birth.
  decoded.metrics.forEach((metric, at) => {
    const wire = message.metrics[at];
    const member = ["intValue", "longValue", "floatValue", "doubleValue", "booleanValue", "stringValue"].find(
      (name) => Object.prototype.hasOwnProperty.call(wire, name) && wire[name] !== null,
    );
    metric.wireMember = member || null;
    metric.wireValue = member ? wire[member] : null;
    metric.isNull = Object.prototype.hasOwnProperty.call(wire, "isNull") && wire.isNull === true;
    metric.hasDatatype = Object.prototype.hasOwnProperty.call(wire, "datatype");
  });
  decoded.hasSeq = Object.prototype.hasOwnProperty.call(message, "seq");
  return decoded;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  if (line.startsWith("encode ")) {
    console.log(Buffer.from(sparkplug.encodePayload(JSON.parse(line.slice(7)))).toString("hex"));
  } else {
    console.log(JSON.stringify(read(Buffer.from(line, "hex")), show));
  }
});
