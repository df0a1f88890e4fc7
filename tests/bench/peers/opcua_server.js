// An OPC UA server by node-opcua: node opcua_server.js PORT COUNT FOLDER.
// Below Objects/Plant stand COUNT variables (ns=1;s=t0 ...), doubles whose value and source timestamp are new at every read.
"use strict";
const { OPCUAServer, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, Variant, DataType } = require("node-opcua");

async function main() {
  const [port, count, folder] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
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
  for (let at = 0; at < count; at++) {
    space.addVariable({
      componentOf: plant,
      browseName: `t${at}`,
      nodeId: `s=t${at}`,
      dataType: "Double",
      minimumSamplingInterval: 100,
      value: { get: () => new Variant({ dataType: DataType.Double, value: (Date.now() % 100000) / 10 + at }) },
    });
  }
  await server.start();
  console.log("ready");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
