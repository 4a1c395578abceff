// The ways in which users say where the server is.
"use strict";

const assert = require("node:assert/strict");
const dns = require("node:dns");
const { ACCOUNT, Service, finished, sts, appMesh, serviceDiscovery } = require("./kit.js");

// A name that users have a wildcard record for.
const DOMAIN = "control.mesh.test";

async function run({ registry }) {
  const endpoint = process.env.AWS_ENDPOINT_URL_STS;
  await reaches({ endpoint });
  const saved = { ...process.env };
  for (const name of Object.keys(process.env).filter((each) => each.startsWith("AWS_ENDPOINT_URL"))) {
    delete process.env[name];
  }
  process.env.AWS_ENDPOINT_URL = endpoint;
  await reaches({});
  Object.assign(process.env, saved);
  await withHostPrefix(registry, new URL(endpoint).port);
}

async function reaches(options) {
  const caller = await new Service(sts, "STSClient", options).call("GetCallerIdentity");
  assert.equal(caller.Account, ACCOUNT);
  await new Service(appMesh, "AppMeshClient", options).call("ListMeshes");
  await new Service(serviceDiscovery, "ServiceDiscoveryClient", options).call("ListNamespaces");
}

// Two operations go to a host of their own, data-…: a wildcard record leads them to the same server.
async function withHostPrefix(registry, port) {
  const operation = await finished(registry, await registry.call("CreateHttpNamespace", { Name: "prefix" }));
  const { Service: made } = await registry.call("CreateService", {
    Name: "front",
    NamespaceId: operation.Targets.NAMESPACE,
  });
  const asked = new Set();
  const lookup = (host, options, done) => {
    asked.add(host);
    dns.lookup(host.endsWith(DOMAIN) ? "127.0.0.1" : host, options, done);
  };
  const client = new Service(serviceDiscovery, "ServiceDiscoveryClient", {
    endpoint: `http://${DOMAIN}:${port}`,
    requestHandler: { httpAgent: { lookup } },
  });
  const where = { NamespaceName: "prefix", ServiceName: "front" };
  assert.deepEqual((await client.call("DiscoverInstances", where)).Instances, []);
  await client.call("DiscoverInstancesRevision", where);
  await client.call("ListNamespaces");
  assert.deepEqual([...asked].sort(), [DOMAIN, `data-${DOMAIN}`]);
  await registry.call("DeleteService", { Id: made.Id });
  await finished(registry, await registry.call("DeleteNamespace", { Id: operation.Targets.NAMESPACE }));
}

module.exports = { run };
