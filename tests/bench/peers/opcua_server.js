// An OPC UA server by node-opcua: node opcua_server.js PORT COUNT FOLDER together|each.
// Below Objects/Plant stand COUNT doubles (ns=1;s=t0 ...). Together: a cycle renews all of them ten times a second, under one
// source timestamp, as a controller's does. Each: every read computes its value anew, under a timestamp of its own.
"use strict";
const { OPCUAServer, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, Variant, DataType, StatusCodes } = require("node-opcua");

const CYCLE_MS = 100;

async function main() {
  const [port, count, folder, manner] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4], process.argv[5]];
  const server = new OPCUAServer({
    port,
    serverCertificateManager: new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true }),
    securityModes: [MessageSecurityMode.None],
    securityPolicies: [SecurityPolicy.None],
    allowAnonymous: true,
    serverCapabilities: { maxNodesPerRead: 5000, operationLimits: { maxNodesPerRead: 5000 } },
  });
  await server.initialize();
  const space = server.engine.addressSpace.getOwnNamespace();
  const plant = space.addObject({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Plant", nodeId: "s=Plant" });
  const variables = [];
  const makeValue = (at) => new Variant({ dataType: DataType.Double, value: (Date.now() % 100000) / 10 + at });
  for (let at = 0; at < count; at++) {
    const variable = space.addVariable({
      componentOf: plant,
      browseName: `t${at}`,
      nodeId: `s=t${at}`,
      dataType: "Double",
      minimumSamplingInterval: 100,
      value: manner === "each" ? { get: () => makeValue(at) } : undefined,
    });
    variables.push(variable);
  }
  const renew = () => {
    const now = new Date();
    variables.forEach((variable, at) => variable.setValueFromSource(makeValue(at), StatusCodes.Good, now));
  };
  if (manner !== "each") {
    renew();
    setInterval(renew, CYCLE_MS);
  }
  await server.start();
  console.log("ready");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
