// The seven kinds of App Mesh, and an object of each before and after an update.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const FILE = path.join(__dirname, "..", "objects.json");
const PARENTS = {
  Mesh: [],
  Route: ["meshName", "virtualRouterName"],
  GatewayRoute: ["meshName", "virtualGatewayName"],
};

// Parents first; deleted in reverse, none is in use.
function objects(mesh) {
  return JSON.parse(fs.readFileSync(FILE, "utf8")).map(({ kind, names, spec, changed }) => {
    const member = kind[0].toLowerCase() + kind.slice(1);
    const all = { meshName: mesh, ...names };
    const plural = kind === "Mesh" ? "Meshes" : `${kind}s`;
    const parents = PARENTS[kind] ?? ["meshName"];
    return {
      kind,
      member,
      ownName: `${member}Name`,
      list: `List${plural}`,
      listed: plural[0].toLowerCase() + plural.slice(1),
      names: all,
      place: Object.fromEntries(parents.map((parent) => [parent, all[parent]])),
      spec,
      changed,
    };
  });
}

module.exports = { objects };
