// Every paginator of the packages gives everything once, whatever the size of the pages.
"use strict";

const assert = require("node:assert/strict");
const { finished } = require("./kit.js");
const { objects } = require("./objects.js");

const COUNT = 5;
const NUMBERS = Array.from({ length: COUNT }, (_, number) => number);

async function run({ mesh, registry }) {
  await every(mesh, await meshListings(mesh));
  const { listings, service, namespaces } = await registryListings(registry);
  await every(registry, listings);
  await removeMeshes(mesh);
  await removeRegistry(registry, service, namespaces);
}

async function every(service, listings) {
  assert.deepEqual(Object.keys(listings).sort(), service.paginators().sort(), "the paginators of the package");
  const waiters = Object.keys(service.sdk).filter((name) => name.startsWith("waitUntil"));
  assert.deepEqual(waiters, [], "the waiters of the package, which nothing here waits with");
  for (const [operation, { input, items }] of Object.entries(listings)) {
    const wanted = items(await service.call(operation, input)).sort();
    assert.ok(wanted.length >= COUNT, `${operation}: only ${wanted}`);
    for (const pageSize of [1, 2, 3]) {
      const found = [];
      const config = { client: service.client, pageSize };
      // The paginators write into the input that they get.
      for await (const page of service.sdk[`paginate${operation}`](config, { ...input })) {
        const some = items(page);
        assert.ok(some.length <= pageSize, `${operation}: a page of ${some.length}`);
        found.push(...some);
      }
      assert.deepEqual(found.sort(), wanted, `${operation}: pages of ${pageSize}`);
    }
  }
}

async function meshListings(mesh) {
  const listings = {};
  const all = objects("pages");
  for (const { kind, ownName, list, listed, names, place, spec } of all) {
    await mesh.call(`Create${kind}`, { ...names, spec });
    for (const number of NUMBERS) {
      await mesh.call(`Create${kind}`, { ...names, [ownName]: `${names[ownName]}-${number}`, spec });
    }
    listings[list] = { input: place, items: (page) => page[listed].map((each) => each.arn) };
  }
  const { mesh: described } = await mesh.call("DescribeMesh", { meshName: "pages" });
  const resourceArn = described.metadata.arn;
  await mesh.call("TagResource", { resourceArn, tags: NUMBERS.map((number) => ({ key: `tag-${number}`, value: "" })) });
  listings.ListTagsForResource = { input: { resourceArn }, items: (page) => page.tags.map((tag) => tag.key) };
  return listings;
}

async function registryListings(registry) {
  const namespaces = [];
  const services = [];
  for (const number of NUMBERS) {
    const operation = await finished(registry, await registry.call("CreateHttpNamespace", { Name: `pages-${number}` }));
    namespaces.push(operation.Targets.NAMESPACE);
  }
  for (const number of NUMBERS) {
    const input = { Name: `service-${number}`, NamespaceId: namespaces[0] };
    services.push((await registry.call("CreateService", input)).Service.Id);
  }
  const ServiceId = services[0];
  for (const number of NUMBERS) {
    const input = { ServiceId, InstanceId: `i-${number}`, Attributes: { number: `${number}` } };
    await finished(registry, await registry.call("RegisterInstance", input));
  }
  const byId = (member) => (page) => page[member].map((each) => each.Id);
  const listings = {
    ListNamespaces: { input: {}, items: byId("Namespaces") },
    ListServices: { input: {}, items: byId("Services") },
    ListInstances: { input: { ServiceId }, items: byId("Instances") },
    ListOperations: { input: {}, items: byId("Operations") },
    GetInstancesHealthStatus: { input: { ServiceId }, items: (page) => Object.keys(page.Status) },
  };
  return { listings, service: ServiceId, namespaces };
}

async function removeMeshes(mesh) {
  for (const { kind, ownName, list, listed, place } of objects("pages").toReversed()) {
    for (const each of (await mesh.call(list, place))[listed]) {
      await mesh.call(`Delete${kind}`, { ...place, [ownName]: each[ownName] });
    }
  }
}

async function removeRegistry(registry, ServiceId, namespaces) {
  for (const { Id } of (await registry.call("ListInstances", { ServiceId })).Instances) {
    await finished(registry, await registry.call("DeregisterInstance", { ServiceId, InstanceId: Id }));
  }
  for (const { Id } of (await registry.call("ListServices")).Services) {
    await registry.call("DeleteService", { Id });
  }
  for (const Id of namespaces) {
    await finished(registry, await registry.call("DeleteNamespace", { Id }));
  }
}

module.exports = { run };
