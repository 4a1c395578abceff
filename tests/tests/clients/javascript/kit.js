// What the scripts share: clients that count the commands that worked, and checks.
"use strict";

const assert = require("node:assert/strict");
const appMesh = require("@aws-sdk/client-app-mesh");
const serviceDiscovery = require("@aws-sdk/client-servicediscovery");
const sts = require("@aws-sdk/client-sts");

const ACCOUNT = "111122223333";
const REGION = "us-west-2";
// How long an operation of Cloud Map, or a change of health, may take.
const PATIENCE = 60_000;
const HOUR = 3_600_000;

// One SDK package with one client of it.
class Service {
  constructor(sdk, clientName, options = {}) {
    this.sdk = sdk;
    this.name = clientName;
    this.succeeded = new Set();
    this.raised = new Set();
    // One attempt: what a script sees is what the server answered.
    this.client = new sdk[clientName]({ maxAttempts: 1, ...options });
    const count = (next, context) => async (args) => {
      try {
        const result = await next(args);
        this.succeeded.add(context.commandName);
        return result;
      } catch (error) {
        this.raised.add(error.name);
        throw error;
      }
    };
    this.client.middlewareStack.add(count, { step: "initialize", name: "count" });
  }

  async call(operation, input = {}) {
    const { $metadata, ...answer } = await this.client.send(new this.sdk[`${operation}Command`](input));
    assert.equal($metadata.httpStatusCode, 200, operation);
    assert.ok($metadata.requestId, `${operation}: no request id`);
    return answer;
  }

  // The call raises this class of the package, with these members.
  async fails(name, operation, input, members = {}) {
    await assert.rejects(this.call(operation, input), (error) => {
      assert.equal(error.name, name, `${operation}: ${error}`);
      assert.ok(error instanceof this.sdk[name], `${operation}: ${error.name} is not of its class`);
      assert.ok(error.message && error.message !== "UnknownError", `${operation}: ${name} has no message`);
      assert.ok(error.$metadata.requestId, `${operation}: ${name} has no request id`);
      for (const [member, value] of Object.entries(members)) {
        assert.equal(error[member], value, `${name}.${member}`);
      }
      return true;
    });
  }

  // The commands of the package, by the classes that it exports.
  commands() {
    return Object.keys(this.sdk).filter((name) => name.endsWith("Command") && name !== "$Command");
  }

  // The errors of the package, by the classes that it exports.
  errors() {
    const base = Object.keys(this.sdk).find((name) => name.endsWith("ServiceException"));
    const isError = (each) => typeof each === "function" && each.prototype instanceof this.sdk[base];
    return Object.keys(this.sdk).filter((name) => isError(this.sdk[name]));
  }

  paginators() {
    const names = Object.keys(this.sdk).filter((name) => name.startsWith("paginate"));
    return names.map((name) => name.slice("paginate".length));
  }
}

function clients() {
  return {
    mesh: new Service(appMesh, "AppMeshClient"),
    // This SDK takes the host prefix of DiscoverInstances off by an option alone; endpoint.js keeps it on.
    registry: new Service(serviceDiscovery, "ServiceDiscoveryClient", { disableHostPrefix: true }),
    identity: new Service(sts, "STSClient"),
  };
}

function isRecent(time, what) {
  assert.ok(time instanceof Date, `${what} is no Date but ${time}`);
  assert.ok(Math.abs(Date.now() - time) < HOUR, `${what} is ${time.toISOString()}`);
}

async function until(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < end, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// The operation of Cloud Map when it has ended well.
function finished(registry, { OperationId }) {
  return until(`operation ${OperationId} ends`, async () => {
    const { Operation } = await registry.call("GetOperation", { OperationId });
    assert.notEqual(Operation.Status, "FAIL", JSON.stringify(Operation));
    return Operation.Status === "SUCCESS" && Operation;
  });
}

// Lists of tags of both services as one object.
function tagsOf(list) {
  return Object.fromEntries(list.map((tag) => [tag.key ?? tag.Key, tag.value ?? tag.Value]));
}

module.exports = {
  ACCOUNT,
  REGION,
  Service,
  appMesh,
  clients,
  finished,
  isRecent,
  serviceDiscovery,
  sts,
  tagsOf,
  until,
};
