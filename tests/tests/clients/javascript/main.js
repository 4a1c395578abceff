// Drives all commands with the SDK for JavaScript; fails when an answer is wrong or a command is left out.
"use strict";

const assert = require("node:assert/strict");
const { clients } = require("./kit.js");
const failures = require("./failures.js");

async function main() {
  const all = clients();
  for (const part of ["./app_mesh.js", "./cloud_map.js", "./pages.js", "./failures.js", "./endpoint.js"]) {
    await require(part).run(all);
  }
  // The one command of STS that there is without AWS.
  const identity = ["GetCallerIdentityCommand"];
  const commands = { mesh: all.mesh.commands(), registry: all.registry.commands(), identity };
  const leftOut = Object.entries(commands).flatMap(([name, wanted]) =>
    wanted.filter((command) => !all[name].succeeded.has(command)),
  );
  assert.deepEqual(leftOut, [], "commands that never worked");
  assert.deepEqual(failures.unraised(all), [], "errors that were never raised");
  const counts = Object.values(all).map((service) => `${service.name} ${service.succeeded.size}`);
  console.log(`JavaScript: commands that worked: ${counts.join(", ")}`);
}

main();
