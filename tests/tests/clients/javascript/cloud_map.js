// Every object of Cloud Map is created, read, listed, updated, tagged and deleted, and instances are discovered.
"use strict";

const assert = require("node:assert/strict");
const { ACCOUNT, finished, isRecent, tagsOf, until } = require("./kit.js");

const KINDS = {
  Http: { type: "HTTP", name: "api.http" },
  PrivateDns: { type: "DNS_PRIVATE", name: "api.private", more: { Vpc: "vpc-1" } },
  PublicDns: { type: "DNS_PUBLIC", name: "api.public.example" },
};

async function run({ registry }) {
  for (const [kind, { type, name, more }] of Object.entries(KINDS)) {
    const namespace = await makeNamespace(registry, kind, type, { Name: name, ...more });
    const service = await makeService(registry, type, namespace);
    const where = { NamespaceName: name, ServiceName: "front" };
    await instances(registry, service, where);
    await remove(registry, service, namespace);
  }
  assert.deepEqual((await registry.call("ListNamespaces")).Namespaces, []);
}

async function makeNamespace(registry, kind, type, input) {
  const tags = [{ Key: "stage", Value: "one" }];
  const started = await registry.call(`Create${kind}Namespace`, { ...input, Description: "first", Tags: tags });
  const operation = await finished(registry, started);
  assert.equal(operation.Type, "CREATE_NAMESPACE");
  isRecent(operation.CreateDate, "CreateDate of the operation");
  const Id = operation.Targets.NAMESPACE;
  const change = { Description: "second" };
  if (type !== "HTTP") {
    change.Properties = { DnsProperties: { SOA: { TTL: 60 } } };
  }
  await finished(registry, await registry.call(`Update${kind}Namespace`, { Id, Namespace: change }));
  const { Namespace } = await registry.call("GetNamespace", { Id });
  assert.equal(Namespace.Name, input.Name);
  assert.equal(Namespace.Type, type);
  assert.equal(Namespace.Description, "second");
  assert.equal(Namespace.ResourceOwner, ACCOUNT);
  isRecent(Namespace.CreateDate, "CreateDate of the namespace");
  const Filters = [{ Name: "TYPE", Values: [type], Condition: "EQ" }];
  const { Namespaces } = await registry.call("ListNamespaces", { Filters });
  assert.deepEqual(Namespaces.map((each) => each.Id), [Id]);
  const ofIt = [
    { Name: "NAMESPACE_ID", Values: [Id] },
    { Name: "TYPE", Values: ["CREATE_NAMESPACE"] },
  ];
  const { Operations } = await registry.call("ListOperations", { Filters: ofIt });
  assert.deepEqual(Operations, [{ Id: started.OperationId, Status: "SUCCESS" }]);
  await tag(registry, Namespace.Arn);
  return Id;
}

async function tag(registry, ResourceARN) {
  const tags = async () => tagsOf((await registry.call("ListTagsForResource", { ResourceARN })).Tags);
  assert.deepEqual(await tags(), { stage: "one" });
  const Tags = [{ Key: "team", Value: "blue" }, { Key: "empty", Value: "" }];
  await registry.call("TagResource", { ResourceARN, Tags });
  await registry.call("UntagResource", { ResourceARN, TagKeys: ["stage", "never-there"] });
  assert.deepEqual(await tags(), { team: "blue", empty: "" });
}

async function makeService(registry, type, NamespaceId) {
  const isDns = type !== "HTTP";
  const { Service } = await registry.call("CreateService", {
    Name: "front",
    NamespaceId,
    HealthCheckCustomConfig: { FailureThreshold: 1 },
    Tags: [{ Key: "stage", Value: "one" }],
    ...(isDns && { DnsConfig: { RoutingPolicy: "WEIGHTED", DnsRecords: [{ Type: "A", TTL: 60 }] } }),
  });
  isRecent(Service.CreateDate, "CreateDate of the service");
  assert.deepEqual((await registry.call("GetService", { Id: Service.Id })).Service, Service);
  const Filters = [{ Name: "NAMESPACE_ID", Values: [NamespaceId] }];
  const { Services } = await registry.call("ListServices", { Filters });
  assert.deepEqual(Services.map((each) => each.Id), [Service.Id]);
  await tag(registry, Service.Arn);
  if (isDns) {
    const change = { Description: "second", DnsConfig: { DnsRecords: [{ Type: "A", TTL: 5 }] } };
    await finished(registry, await registry.call("UpdateService", { Id: Service.Id, Service: change }));
    const { Service: changed } = await registry.call("GetService", { Id: Service.Id });
    const config = { NamespaceId, RoutingPolicy: "WEIGHTED", DnsRecords: [{ Type: "A", TTL: 5 }] };
    assert.deepEqual(changed.DnsConfig, config);
    assert.equal(changed.Description, "second");
  }
  const ServiceId = Service.Id;
  await registry.call("UpdateServiceAttributes", { ServiceId, Attributes: { zone: "a", rack: "1" } });
  await registry.call("DeleteServiceAttributes", { ServiceId, Attributes: ["rack"] });
  const { ServiceAttributes } = await registry.call("GetServiceAttributes", { ServiceId });
  assert.deepEqual(ServiceAttributes, {
    ServiceArn: Service.Arn,
    ResourceOwner: ACCOUNT,
    Attributes: { zone: "a" },
  });
  return ServiceId;
}

async function instances(registry, ServiceId, where) {
  for (const number of [1, 2]) {
    const InstanceId = `i-${number}`;
    const Attributes = { AWS_INSTANCE_IPV4: `10.0.0.${number}`, color: `c${number}` };
    await finished(registry, await registry.call("RegisterInstance", { ServiceId, InstanceId, Attributes }));
    const { Instance } = await registry.call("GetInstance", { ServiceId, InstanceId });
    assert.deepEqual(Instance.Attributes, Attributes);
  }
  const listed = await registry.call("ListInstances", { ServiceId });
  assert.deepEqual(listed.Instances.map((each) => each.Id).sort(), ["i-1", "i-2"]);

  const found = await registry.call("DiscoverInstances", { ...where, QueryParameters: { color: "c2" } });
  assert.deepEqual(found.Instances, [
    {
      InstanceId: "i-2",
      ...where,
      HealthStatus: "HEALTHY",
      Attributes: { AWS_INSTANCE_IPV4: "10.0.0.2", color: "c2" },
    },
  ]);
  const { InstancesRevision } = await registry.call("DiscoverInstancesRevision", where);
  // A number that JavaScript can hold.
  assert.ok(Number.isSafeInteger(InstancesRevision), `InstancesRevision ${InstancesRevision}`);
  assert.equal(found.InstancesRevision, InstancesRevision);

  await registry.call("UpdateInstanceCustomHealthStatus", { ServiceId, InstanceId: "i-1", Status: "UNHEALTHY" });
  await until("i-1 is unhealthy", async () => {
    const { Status } = await registry.call("GetInstancesHealthStatus", { ServiceId });
    assert.equal(Status["i-2"], "HEALTHY");
    return Status["i-1"] === "UNHEALTHY";
  });
  const healthy = await registry.call("DiscoverInstances", { ...where, HealthStatus: "HEALTHY" });
  assert.deepEqual(healthy.Instances.map((each) => each.InstanceId), ["i-2"]);
}

async function remove(registry, ServiceId, Id) {
  await registry.fails("ResourceInUse", "DeleteService", { Id: ServiceId });
  await registry.fails("ResourceInUse", "DeleteNamespace", { Id });
  for (const InstanceId of ["i-1", "i-2"]) {
    await finished(registry, await registry.call("DeregisterInstance", { ServiceId, InstanceId }));
    await registry.fails("InstanceNotFound", "GetInstance", { ServiceId, InstanceId });
  }
  await registry.call("DeleteService", { Id: ServiceId });
  await registry.fails("ServiceNotFound", "GetService", { Id: ServiceId });
  await finished(registry, await registry.call("DeleteNamespace", { Id }));
  await registry.fails("NamespaceNotFound", "GetNamespace", { Id });
}

module.exports = { run };
