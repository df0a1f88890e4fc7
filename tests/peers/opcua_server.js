// A node-opcua server for tests: `node opcua_server.js '{"port": 4840, ...}'`; one line of JSON on stdout when it listens.
//
// port, folder (for certificates), count (Doubles that count 1, 2, 3 ...), period_ms, history (of t0, values kept),
// secure (offer the three policies), analog (a node with EURange and unit), machines (a Machines folder),
// limits (operation limits), slow_from (from that counter on every fourth beat counts).
const path = require("node:path");
const opcua = require("node-opcua");

const NAMESPACE = "urn:forewarn:plant";
const MACHINERY = "http://opcfoundation.org/UA/Machinery/";
const wish = JSON.parse(process.argv[2]);

function listSecurity() {
  if (!wish.secure) {
    return { securityPolicies: [opcua.SecurityPolicy.None], securityModes: [opcua.MessageSecurityMode.None] };
  }
  const { Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss } = opcua.SecurityPolicy;
  return {
    securityPolicies: [Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss],
    securityModes: [opcua.MessageSecurityMode.Sign, opcua.MessageSecurityMode.SignAndEncrypt],
  };
}

function addCounters(namespace, plant) {
  const counters = [];
  for (let at = 0; at < (wish.count || 0); at += 1) {
    counters.push(
      namespace.addVariable({
        componentOf: plant,
        browseName: `t${at}`,
        nodeId: `s=pump-7.t${at}`,
        dataType: "Double",
        value: { dataType: "Double", value: 0 },
        minimumSamplingInterval: 50,
      }),
    );
  }
  return counters;
}

function countOn(counters) {
  let number = 0;
  setInterval(() => {
    number += 1;
    const now = new Date();
    counters.forEach((counter, at) => {
      // A busy computer samples late: what must not miss a number counts slowly.
      const beat = at >= (wish.slow_from ?? counters.length) ? 4 : 1;
      if (number % beat === 0) {
        counter.setValueFromSource({ dataType: "Double", value: number / beat }, opcua.StatusCodes.Good, now);
      }
    });
  }, wish.period_ms || 100);
}

function addAnalog(namespace, plant) {
  namespace.addAnalogDataItem({
    componentOf: plant,
    browseName: "pressure",
    nodeId: "s=pump-7.pressure",
    dataType: "Double",
    engineeringUnitsRange: { low: 0, high: 200 },
    engineeringUnits: opcua.standardUnits.bar,
    value: { dataType: "Double", value: 100 },
  });
}

function addMachines(addressSpace, namespace) {
  const machinery = addressSpace.registerNamespace(MACHINERY);
  const folder = machinery.addObject({
    organizedBy: addressSpace.rootFolder.objects,
    browseName: "Machines",
    nodeId: "i=1001",
    typeDefinition: "FolderType",
  });
  const press = namespace.addObject({ organizedBy: folder, browseName: "Press 3", nodeId: "s=press-3" });
  namespace.addVariable({
    componentOf: press,
    browseName: "force",
    nodeId: "s=press-3.force",
    dataType: "Double",
    value: { dataType: "Double", value: 12.5 },
  });
}

// Tests tell the server what to write: one JSON object a line, {"node", "value", "time_ms"}.
function takeOrders(addressSpace, index) {
  const lines = require("node:readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const order = JSON.parse(line);
    const node = addressSpace.findNode(`ns=${index};s=pump-7.${order.node}`);
    const status = order.status ? opcua.StatusCodes[order.status] : opcua.StatusCodes.Good;
    const time = order.time_ms ? new Date(order.time_ms) : new Date();
    node.setValueFromSource({ dataType: "Double", value: order.value }, status, time);
  });
}

async function main() {
  const server = new opcua.OPCUAServer({
    port: wish.port,
    host: "127.0.0.1",
    resourcePath: "/forewarn",
    hostname: "127.0.0.1",
    alternateHostname: "127.0.0.1",
    allowAnonymous: true,
    serverInfo: { applicationUri: "urn:forewarn:peer", productUri: "urn:forewarn:peer" },
    ...listSecurity(),
    ...(wish.secure
      ? {
          serverCertificateManager: new opcua.OPCUACertificateManager({
            rootFolder: path.join(wish.folder, "node-opcua"),
            automaticallyAcceptUnknownCertificate: true,
          }),
        }
      : {}),
    serverCapabilities: {
      maxSessions: 20,
      maxMonitoredItemsPerSubscription: 20000,
      maxMonitoredItems: 100000,
      operationLimits: { maxNodesPerRead: 1000, maxMonitoredItemsPerCall: 1000, ...wish.limits },
    },
  });
  await server.initialize();
  const addressSpace = server.engine.addressSpace;
  const namespace = addressSpace.registerNamespace(NAMESPACE);
  const plant = namespace.addObject({
    organizedBy: addressSpace.rootFolder.objects,
    browseName: "pump-7",
    nodeId: "s=pump-7",
  });
  const counters = addCounters(namespace, plant);
  if (wish.analog) addAnalog(namespace, plant);
  if (wish.machines) addMachines(addressSpace, namespace);
  if (wish.history) addressSpace.installHistoricalDataNode(counters[0], { maxOnlineValues: wish.history });
  await server.start();
  countOn(counters);
  takeOrders(addressSpace, namespace.index);
  process.stdout.write(`${JSON.stringify({ ready: true, port: wish.port })}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
