// A Modbus server by npm's jsmodbus: node jsmodbus_server.js PORT [tcp|rtu-over-tcp], or DEVICE rtu.
// It checks no address: of what lies behind its last register it sends as much as there is.
const fs = require("fs");
const net = require("net");
const { Duplex } = require("stream");
const modbus = require("jsmodbus");
const plant = require("./modbus_plant");

const [where, transport = "tcp"] = process.argv.slice(2);

function packRegisters(table) {
  const packed = Buffer.alloc(2 * table.length);
  table.forEach((word, at) => packed.writeUInt16BE(word, 2 * at));
  return packed;
}

function packBits(table) {
  const packed = Buffer.alloc(table.length / 8);
  table.forEach((bit, at) => (packed[at >> 3] |= bit << (at & 7)));
  return packed;
}

const tables = {
  holding: packRegisters(plant.holding),
  input: packRegisters(plant.input),
  coils: packBits(plant.coils),
  discrete: packBits(plant.discrete),
};

function watch(server) {
  for (const write of ["SingleCoil", "SingleRegister", "MultipleCoils", "MultipleRegisters"]) {
    server.on(`preWrite${write}`, plant.refuseWrite);
  }
}

if (transport === "rtu") {
  // A port opened as a file, since npm's serialport is a compiled part that tests do without.
  const port = Duplex.from({ readable: fs.createReadStream(where), writable: fs.createWriteStream(where, { flags: "r+" }) });
  watch(new modbus.server.RTU(port, tables));
} else {
  const listener = net.createServer();
  if (transport === "tcp") watch(new modbus.server.TCP(listener, tables));
  else listener.on("connection", (socket) => watch(new modbus.server.RTU(socket, tables)));
  listener.on("connection", (socket) => socket.on("error", () => {}));
  listener.listen(Number(where), "127.0.0.1");
}
