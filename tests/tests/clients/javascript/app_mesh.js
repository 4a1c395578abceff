// Every object of App Mesh is created, read, listed, updated, tagged and deleted.
"use strict";

const assert = require("node:assert/strict");
const { ACCOUNT, REGION, isRecent, tagsOf } = require("./kit.js");
const { objects } = require("./objects.js");

async function run({ mesh, identity }) {
  const caller = await identity.call("GetCallerIdentity");
  assert.equal(caller.Account, ACCOUNT);
  const all = objects("shop");
  for (const object of all) {
    await create(mesh, object);
  }
  for (const object of all) {
    await update(mesh, object);
  }
  await oddName(mesh);
  for (const object of all.toReversed()) {
    await remove(mesh, object);
  }
  assert.deepEqual((await mesh.call("ListMeshes")).meshes, []);
}

async function create(mesh, object) {
  const input = { ...object.names, spec: object.spec, tags: [{ key: "stage", value: "one" }] };
  input.clientToken = `token-${object.kind}`;
  const { [object.member]: made } = await mesh.call(`Create${object.kind}`, input);
  check(made, object, object.spec, 1);
  const described = await mesh.call(`Describe${object.kind}`, object.names);
  assert.deepEqual(described[object.member], made, `Describe${object.kind}`);
  const { [object.listed]: listed } = await mesh.call(object.list, object.place);
  const { uid, ...metadata } = made.metadata;
  assert.ok(uid, "no uid");
  assert.deepEqual(listed, [{ ...metadata, ...object.names }], object.list);

  const { arn: resourceArn } = metadata;
  const tags = async () => tagsOf((await mesh.call("ListTagsForResource", { resourceArn })).tags);
  assert.deepEqual(await tags(), { stage: "one" });
  await mesh.call("TagResource", { resourceArn, tags: [{ key: "team", value: "blue" }, { key: "empty", value: "" }] });
  await mesh.call("UntagResource", { resourceArn, tagKeys: ["stage", "never-there"] });
  assert.deepEqual(await tags(), { team: "blue", empty: "" });
}

async function update(mesh, object) {
  const updated = (await mesh.call(`Update${object.kind}`, { ...object.names, spec: object.changed }))[object.member];
  check(updated, object, object.changed, 2);
  assert.ok(updated.metadata.lastUpdatedAt >= updated.metadata.createdAt, "back in time");
  const described = await mesh.call(`Describe${object.kind}`, object.names);
  assert.deepEqual(described[object.member], updated, `Describe${object.kind}`);
}

async function remove(mesh, object) {
  const deleted = (await mesh.call(`Delete${object.kind}`, object.names))[object.member];
  assert.deepEqual(deleted.status, { status: "DELETED" }, `Delete${object.kind}`);
  await mesh.fails("NotFoundException", `Describe${object.kind}`, object.names);
}

// Services may be called almost anything; the name is in paths and ARNs, which clients write with escapes.
async function oddName(mesh) {
  const names = { meshName: "shop", virtualServiceName: "a+b%2F~!*'()@:$&,;=#?.example" };
  const { virtualService: made } = await mesh.call("CreateVirtualService", { ...names, spec: {} });
  assert.equal(made.virtualServiceName, names.virtualServiceName);
  const { virtualService: described } = await mesh.call("DescribeVirtualService", names);
  assert.deepEqual(described, made);
  const resourceArn = made.metadata.arn;
  await mesh.call("TagResource", { resourceArn, tags: [{ key: "odd", value: "+ %&=" }] });
  assert.deepEqual(tagsOf((await mesh.call("ListTagsForResource", { resourceArn })).tags), { odd: "+ %&=" });
  await mesh.call("DeleteVirtualService", names);
}

function check(answer, object, spec, version) {
  const { metadata, spec: found, status, ...names } = answer;
  assert.deepEqual(names, object.names);
  assert.deepEqual(found, spec, `${object.kind}: the spec`);
  assert.deepEqual(status, { status: "ACTIVE" });
  assert.equal(metadata.version, version, `${object.kind}: the version`);
  assert.equal(metadata.meshOwner, ACCOUNT);
  assert.equal(metadata.resourceOwner, ACCOUNT);
  assert.ok(metadata.arn.startsWith(`arn:aws:appmesh:${REGION}:${ACCOUNT}:mesh/shop`), metadata.arn);
  isRecent(metadata.createdAt, `${object.kind}: createdAt`);
  isRecent(metadata.lastUpdatedAt, `${object.kind}: lastUpdatedAt`);
}

module.exports = { run };
