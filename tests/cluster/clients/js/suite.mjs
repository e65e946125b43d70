// What a user of the JavaScript client does, against the cluster of the kubeconfig in the first argument.
// Says each step; the first one that is not as Kubernetes has it ends the program with an error.

import assert from 'node:assert/strict';
import * as k8s from '@kubernetes/client-node';

const namespace = 'js';
const step = (name) => console.log('ok', name);
const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

async function refused(code, reason, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.code, code, String(error.body));
    assert.equal(JSON.parse(error.body).reason, reason);
    return true;
  });
}

/// The first event of a watch for which `wanted` holds.
function until(path, query, wanted) {
  const watch = new k8s.Watch(config);
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`nothing on ${path}`)), 60_000);
    let request;
    let ended = false;
    const end = (finish, value) => {
      if (ended) return;
      ended = true;
      clearTimeout(late);
      finish(value);
      // Not from within the event: its stream is still being read.
      setImmediate(() => request?.abort());
    };
    const seen = (type, object) => wanted(type, object) && end(resolve, { type, object });
    const done = (error) => end(reject, error ?? new Error(`the watch of ${path} ended`));
    watch.watch(path, query, seen, done).then((made) => (request = made), done);
  });
}

async function objects() {
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'a' }, data: { k: 'v' } } });
  await refused(409, 'AlreadyExists', () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'a' } } }));
  await refused(404, 'NotFound', () => core.readNamespacedConfigMap({ namespace, name: 'none' }));
  const patch = [{ op: 'replace', path: '/data/k', value: 'w' }];
  const patched = await core.patchNamespacedConfigMap({ namespace, name: 'a', body: patch });
  assert.equal(patched.data.k, 'w');
  step('objects: create, refusals, JSON patch');
}

async function applying() {
  const generic = k8s.KubernetesObjectApi.makeApiClient(config);
  const spec = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ssa', namespace }, data: { a: '1' } };
  const apply = (manager, force) =>
    generic.patch(spec, undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
  await apply('one', false);
  spec.data.a = '2';
  await refused(409, 'Conflict', () => apply('two', false));
  const forced = await apply('two', true);
  assert.equal(forced.data.a, '2');
  step('server-side apply: create, conflict, force');
}

async function informing() {
  const list = () => core.listNamespacedSecret({ namespace });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, list);
  const seen = [];
  const deleted = new Promise((resolve, reject) => {
    informer.on('add', (one) => seen.push(`add ${one.metadata.name}`));
    informer.on('update', (one) => seen.push(`update ${one.metadata.name}`));
    informer.on('delete', (one) => resolve(seen.push(`delete ${one.metadata.name}`)));
    informer.on('error', reject);
  });
  await informer.start();
  await core.createNamespacedSecret({ namespace, body: { metadata: { name: 's' }, stringData: { t: 'x' } } });
  const body = [{ op: 'add', path: '/metadata/labels', value: { a: 'b' } }];
  await core.patchNamespacedSecret({ namespace, name: 's', body });
  await core.deleteNamespacedSecret({ namespace, name: 's' });
  await deleted;
  await informer.stop();
  assert.deepEqual(seen, ['add s', 'update s', 'delete s']);
  step('an informer sees every change');
}

async function custom() {
  const definitions = config.makeApiClient(k8s.ApiextensionsV1Api);
  const [group, version, plural] = ['js.example.com', 'v1', 'toys'];
  const openAPIV3Schema = {
    type: 'object',
    properties: {
      spec: { type: 'object', properties: { size: { type: 'integer', _default: 3 } } },
      status: { type: 'object', properties: { done: { type: 'boolean' } } },
    },
  };
  await definitions.createCustomResourceDefinition({
    body: {
      metadata: { name: `${plural}.${group}` },
      spec: {
        group,
        scope: 'Namespaced',
        names: { plural, kind: 'Toy' },
        versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema }, subresources: { status: {} } }],
      },
    },
  });
  const established = (_, one) => one.status?.conditions?.some((it) => it.type === 'Established' && it.status === 'True');
  const query = { fieldSelector: `metadata.name=${plural}.${group}` };
  await until('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', query, established);
  const toys = config.makeApiClient(k8s.CustomObjectsApi);
  const body = { apiVersion: `${group}/${version}`, kind: 'Toy', metadata: { name: 't' }, spec: {}, status: { done: true } };
  const made = await toys.createNamespacedCustomObject({ group, version, plural, namespace, body });
  assert.equal(made.spec.size, 3);
  assert.equal(made.status, undefined, 'the status has a way of its own');
  made.status = { done: true };
  const name = 't';
  const done = await toys.replaceNamespacedCustomObjectStatus({ group, version, plural, namespace, name, body: made });
  assert.equal(done.status.done, true);
  step('a custom resource with a status');
}

async function workloads() {
  const labels = { app: 'web' };
  await apps.createNamespacedDeployment({
    namespace,
    body: {
      metadata: { name: 'web' },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'web' }] } },
      },
    },
  });
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  await until(path, {}, (_, one) => one.status?.availableReplicas === 2);
  const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
  scale.spec.replicas = 0;
  await apps.replaceNamespacedDeploymentScale({ namespace, name: 'web', body: scale });
  await until(path, {}, (_, one) => one.spec.replicas === 0 && !one.status?.replicas);
  step('a deployment becomes available and is scaled away');
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
await until(`/api/v1/namespaces/${namespace}/serviceaccounts`, {}, (type) => type === 'ADDED');
await objects();
await applying();
await informing();
await custom();
await workloads();
await core.deleteNamespace({ name: namespace });
await until('/api/v1/namespaces', { fieldSelector: `metadata.name=${namespace}` }, (type) => type === 'DELETED');
step('the namespace goes with all that is in it');
process.exit(0);
