// The error classes of the packages are raised, with their members.
"use strict";

const { finished } = require("./kit.js");
const { objects } = require("./objects.js");

// What a healthy server that verifies nobody never answers.
const ELSEWHERE = new Set([
  "ForbiddenException",
  "InternalServerErrorException",
  "LimitExceededException",
  "RequestLimitExceeded",
  "ResourceLimitExceeded",
  "ServiceUnavailableException",
  "TooManyRequestsException",
]);
const MANY = Array.from({ length: 51 }, (_, number) => `key-${number}`);

async function run({ mesh, registry }) {
  await appMesh(mesh);
  await cloudMap(registry);
}

// The error classes that no check has met.
function unraised({ mesh, registry }) {
  return [mesh, registry].flatMap((service) =>
    service.errors().filter((name) => !service.raised.has(name) && !ELSEWHERE.has(name)),
  );
}

async function appMesh(mesh) {
  const all = objects("failures");
  for (const { kind, names, spec, changed, list, place } of all) {
    await mesh.fails("NotFoundException", `Describe${kind}`, names);
    await mesh.call(`Create${kind}`, { ...names, spec });
    await mesh.fails("ConflictException", `Create${kind}`, { ...names, spec: changed });
    await mesh.fails("BadRequestException", list, { ...place, limit: 101 });
  }
  await mesh.fails("ResourceInUseException", "DeleteMesh", { meshName: "failures" });
  const { mesh: described } = await mesh.call("DescribeMesh", { meshName: "failures" });
  const tags = MANY.map((key) => ({ key, value: "" }));
  const resourceArn = described.metadata.arn;
  await mesh.call("TagResource", { resourceArn, tags: tags.slice(1) });
  await mesh.fails("TooManyTagsException", "TagResource", { resourceArn, tags: tags.slice(0, 1) });
  for (const { kind, names } of all.toReversed()) {
    await mesh.call(`Delete${kind}`, names);
  }
}

async function cloudMap(registry) {
  const first = { CreatorRequestId: "first" };
  const started = await registry.call("CreateHttpNamespace", { Name: "failures", ...first });
  const NamespaceId = (await finished(registry, started)).Targets.NAMESPACE;
  const original = { NamespaceId, ...first };
  await registry.fails("NamespaceAlreadyExists", "CreateHttpNamespace", { Name: "failures" }, original);
  const { Service } = await registry.call("CreateService", { Name: "front", NamespaceId, ...first });
  const existing = { ServiceId: Service.Id, ServiceArn: Service.Arn, ...first };
  await registry.fails("ServiceAlreadyExists", "CreateService", { Name: "front", NamespaceId }, existing);
  await registry.fails("ResourceInUse", "DeleteNamespace", { Id: NamespaceId });
  await registry.fails("InvalidInput", "CreateHttpNamespace", { Name: "no blanks" });
  await registry.fails("NamespaceNotFound", "GetNamespace", { Id: "ns-0000000000000000" });
  await registry.fails("ServiceNotFound", "GetService", { Id: "srv-0000000000000000" });
  await registry.fails("OperationNotFound", "GetOperation", { OperationId: "0123456789" });

  const ServiceId = Service.Id;
  const one = { ServiceId, InstanceId: "i-1" };
  await registry.fails("InstanceNotFound", "GetInstance", one);
  const given = { ...one, Attributes: { color: "red" }, ...first };
  const registered = await finished(registry, await registry.call("RegisterInstance", given));
  const other = { ...given, Attributes: { color: "blue" } };
  await registry.fails("DuplicateRequest", "RegisterInstance", other, { DuplicateOperationId: registered.Id });
  await registry.fails("CustomHealthNotFound", "UpdateInstanceCustomHealthStatus", { ...one, Status: "HEALTHY" });

  const Attributes = Object.fromEntries(MANY.slice(0, 30).map((key) => [key, ""]));
  await registry.call("UpdateServiceAttributes", { ServiceId, Attributes });
  const more = { ServiceId, Attributes: { more: "" } };
  await registry.fails("ServiceAttributesLimitExceededException", "UpdateServiceAttributes", more);
  const Tags = MANY.map((Key) => ({ Key, Value: "" }));
  const ResourceARN = Service.Arn;
  await registry.call("TagResource", { ResourceARN, Tags: Tags.slice(1) });
  const tooMany = { ResourceARN, Tags: Tags.slice(0, 1) };
  await registry.fails("TooManyTagsException", "TagResource", tooMany, { ResourceName: ResourceARN });
  const unknown = { ResourceARN: ResourceARN.replace(ServiceId, "srv-0000000000000000") };
  await registry.fails("ResourceNotFoundException", "ListTagsForResource", unknown);

  await finished(registry, await registry.call("DeregisterInstance", one));
  await registry.call("DeleteService", { Id: ServiceId });
  await finished(registry, await registry.call("DeleteNamespace", { Id: NamespaceId }));
}

module.exports = { run, unraised };
