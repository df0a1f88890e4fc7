// A Modbus TCP server by npm's modbus-serial: node modbus_serial_server.js PORT. Unit 1.
const { ServerTCP } = require("modbus-serial");
const plant = require("./modbus_plant");

const ILLEGAL_ADDRESS = 2;

function read(table, at, count) {
  if (at + count > table.length) throw Object.assign(new Error("no such address"), { modbusErrorCode: ILLEGAL_ADDRESS });
  return table.slice(at, at + count);
}

new ServerTCP(
  {
    getHoldingRegister: (at) => read(plant.holding, at, 1)[0],
    getInputRegister: (at) => read(plant.input, at, 1)[0],
    getMultipleHoldingRegisters: (at, count) => read(plant.holding, at, count),
    getMultipleInputRegisters: (at, count) => read(plant.input, at, count),
    getCoil: (at) => read(plant.coils, at, 1)[0],
    getDiscreteInput: (at) => read(plant.discrete, at, 1)[0],
    setCoil: plant.refuseWrite,
    setRegister: plant.refuseWrite,
    setRegisterArray: plant.refuseWrite,
  },
  { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 1 },
);
