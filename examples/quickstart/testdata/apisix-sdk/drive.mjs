// Drives every call of apisix-sdk for routes, services, upstreams and ssl objects against
// an Admin API. It ends with an error where an answer is not the one that APISIX gives.
//
//	node drive.mjs ADMIN_URL CONTROL_URL KEY NODE < {"cert": ..., "key": ...}
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ApisixSDK } from "apisix-sdk";

const [adminURL, controlURL, apiKey, node] = process.argv.slice(2);
const pair = JSON.parse(readFileSync(0, "utf8"));
const [host, port] = [node.split(":")[0], Number(node.split(":")[1])];

const sdk = new ApisixSDK({ adminAPI: { baseURL: adminURL, apiKey }, controlAPI: { baseURL: controlURL } });
const client = sdk.getClient();
client.configureRetry({ maxAttempts: 1 });

// The SDK remembers what it has read: each question is asked anew.
async function ask(call) {
  client.clearCache();
  return call();
}
async function refused(call, text) {
  await assert.rejects(ask(call), (error) => {
    assert.match(error.message, text);
    return true;
  });
}
const ids = (list) => list.map((v) => v.id).sort();

// Everything that all kinds have.
async function everyKind(api, doc, change, listName) {
  assert.deepEqual(await ask(() => api.list()), []);
  const made = await api.create(doc, "one");
  assert.equal(made.id, "one");
  assert.ok(made.create_time > 0 && made.update_time > 0);
  const generated = await api.create(doc);
  assert.match(generated.id, /^\d{20}$/);
  assert.deepEqual(ids(await ask(() => api.list())), [generated.id, "one"].sort());
  assert.equal((await ask(() => api.get("one"))).id, "one");
  assert.equal(await ask(() => api.exists("one")), true);
  assert.equal(await ask(() => api.exists("nobody")), false);
  const updated = await api.update("one", { ...doc, ...change });
  const patched = await api.patch("one", { desc: "patched" });
  for (const [name, value] of Object.entries(change)) {
    assert.deepEqual(updated[name], value);
    assert.deepEqual(patched[name], value);
  }
  assert.equal(patched.desc, "patched");
  assert.equal((await ask(() => api.get("one"))).desc, "patched");
  for (let i = 0; i < 12; i++) {
    await api.create(doc, `page-${i}`);
  }
  const page = await ask(() => api.listPaginated(2, 10));
  assert.equal(page.total, 14);
  assert.equal(page[listName].length, 4);
  const statistics = api.getStatistics && (await ask(() => api.getStatistics()));
  assert.ok(!statistics || statistics.total === 14);
  for (let i = 0; i < 12; i++) {
    assert.equal(await api.delete(`page-${i}`), true);
  }
  assert.equal(await api.delete(generated.id, { force: true }), true);
  await refused(() => api.delete("nobody"), /404|not found/i);
}

assert.equal(await sdk.testConnection(), true);

const upstream = { name: "up", type: "roundrobin", nodes: { [node]: 1 } };
await everyKind(sdk.upstreams, upstream, { name: "up-2" }, "upstreams");
assert.deepEqual(ids(await ask(() => sdk.upstreams.findByName("up-2"))), ["one"]);
assert.deepEqual(ids(await ask(() => sdk.upstreams.findByType("roundrobin"))), ["one"]);
assert.deepEqual((await ask(() => sdk.upstreams.addNode("one", "10.0.0.1", 80, 5))).nodes, { [node]: 1, "10.0.0.1:80": 5 });
assert.deepEqual((await ask(() => sdk.upstreams.updateNodeWeight("one", "10.0.0.1", 80, 7))).nodes, { [node]: 1, "10.0.0.1:80": 7 });
assert.deepEqual((await ask(() => sdk.upstreams.removeNode("one", "10.0.0.1", 80))).nodes, { [node]: 1 });
assert.equal((await ask(() => sdk.upstreams.clone("one", { name: "copy" }, "copy"))).name, "copy");

const service = { name: "svc", upstream_id: "one", hosts: ["svc.test"] };
await everyKind(sdk.services, service, { name: "svc-2" }, "services");
assert.deepEqual(ids(await ask(() => sdk.services.findByName("svc-2"))), ["one"]);
assert.deepEqual(ids(await ask(() => sdk.services.findByHost("svc.test"))), ["one"]);
assert.equal((await ask(() => sdk.services.clone("one", { name: "copy" }, "copy"))).name, "copy");

const route = { name: "r", uri: "/anything/sdk/*", methods: ["GET"], service_id: "one" };
await everyKind(sdk.routes, route, { name: "r-2" }, "routes");
assert.deepEqual(ids(await ask(() => sdk.routes.findByUri("/anything/sdk/*"))), ["one"]);
assert.deepEqual(ids(await ask(() => sdk.routes.findByMethod("GET"))), ["one"]);
assert.deepEqual(ids(await ask(() => sdk.routes.findByHost("nobody.test"))), []);
assert.equal((await sdk.routes.disable("one")).status, 0);
assert.equal((await sdk.routes.enable("one")).status, 1);
assert.equal((await ask(() => sdk.routes.clone("one", { name: "copy" }, "copy"))).name, "copy");
await ask(() => sdk.routes.search({ uriPattern: "/anything/sdk" }));
await ask(() => sdk.routes.getStatistics());
const batch = await ask(() =>
  sdk.routes.batchOperations([
    { operation: "create", id: "batch", data: route },
    { operation: "update", id: "batch", data: { ...route, name: "b" } },
    { operation: "delete", id: "batch" },
  ]),
);
assert.ok(JSON.stringify(batch).includes("true"));

const ssl = { snis: ["a.test"], ...pair };
await everyKind(sdk.ssl, ssl, { snis: ["a.test", "b.a.test"] }, "certificates");
assert.equal((await ask(() => sdk.ssl.get("one"))).key, "[redacted]");
assert.deepEqual(ids(await ask(() => sdk.ssl.findBySNI("b.a.test"))), ["one"]);
assert.equal((await sdk.ssl.disable("one")).status, 0);
assert.deepEqual(ids(await ask(() => sdk.ssl.findByStatus(0))), ["one"]);
assert.equal((await sdk.ssl.enable("one")).status, 1);
await ask(() => sdk.ssl.checkExpiration("one"));
await ask(() => sdk.ssl.getExpiringCertificates());
assert.deepEqual((await ask(() => sdk.ssl.clone("one", { ...pair, snis: ["c.a.test"] }, "copy"))).snis, ["c.a.test"]);

// What is used is not deleted.
await refused(() => sdk.services.delete("one"), /can not delete this service directly, route \[copy\] is still using it now/);
await refused(() => sdk.upstreams.delete("one"), /can not delete this upstream, service \[copy\] is still using it now/);
await refused(() => sdk.routes.create({ uri: "" }, "bad"), /invalid configuration/);

// Import and export.
const exported = JSON.parse(await ask(() => sdk.exportData("upstreams", { format: "json" })));
assert.deepEqual(ids(exported), ["copy", "one"]);
const imported = await ask(() =>
  sdk.importData("upstreams", exported.map(({ create_time, update_time, ...doc }) => doc), { strategy: "merge" }),
);
assert.deepEqual(imported.errors, []);
assert.equal(imported.updated, 2);

// Kinds that there are not.
for (const api of [sdk.consumers, sdk.globalRules, sdk.consumerGroups, sdk.pluginConfigs, sdk.streamRoutes, sdk.protos]) {
  assert.deepEqual(await ask(() => api.list()), []);
  await refused(() => api.delete("nobody"), /404|not found/i);
}
console.log(`drove apisix-sdk against ${host}:${port}`);
