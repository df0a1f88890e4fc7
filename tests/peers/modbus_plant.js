// What the Modbus servers of this folder hold, the same as libmodbus_server.c: holding register n holds 3n,
// input register n 1000 + n, coil n is on when n is odd, discrete input n when 3 divides n; 12.315
// (41 45 0A 3D) stands in holding registers 150 to 157 as ABCD, CDAB, BADC and DCBA.
const REGISTERS = 200;
const BITS = 64;
const FLOATS = [0x4145, 0x0a3d, 0x0a3d, 0x4145, 0x4541, 0x3d0a, 0x3d0a, 0x4541];

const holding = Array.from({ length: REGISTERS }, (_, at) => FLOATS[at - 150] ?? 3 * at);
const input = Array.from({ length: REGISTERS }, (_, at) => 1000 + at);
const coils = Array.from({ length: BITS }, (_, at) => at % 2 === 1);
const discrete = Array.from({ length: BITS }, (_, at) => at % 3 === 0);

// Nobody may write to a machine: whoever does ends it.
const refuseWrite = () => process.exit(2);

module.exports = { holding, input, coils, discrete, refuseWrite };
