// Calls dots-wrapper's methods against the service: node dots.js URL TOKEN IMAGE

const assert = require('node:assert/strict');
const { createApiClient } = require('dots-wrapper');
const { KEY, FINGERPRINT, SIZE } = require('./samples.js');

const [url, token, image] = process.argv.slice(2);
const imageId = Number(image);
const dots = createApiClient({ token, endpoint: `${url}/v2` });

async function until(condition) {
  for (let i = 0; i < 1200; i++) {
    const value = await condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain for ${condition}`);
}

async function refused(status, call) {
  const error = await call().then(() => null, (error) => error);
  assert.equal(error?.response?.status, status);
  assert.ok(error.response.data.message);
}

async function catalogue() {
  const { data: { account } } = await dots.account.getAccount();
  assert.equal(account.status, 'active');
  const { data: { regions } } = await dots.region.listRegions({ per_page: 25 });
  assert.deepEqual(regions.map((region) => region.slug), ['hal1', 'nbg1']);
  const { data: { sizes, meta } } = await dots.size.listSizes({});
  assert.ok(sizes.some((size) => size.slug === SIZE));
  assert.equal(meta.total, sizes.length);
}

async function errors() {
  const stranger = createApiClient({ token: 'wrong', endpoint: `${url}/v2` });
  await refused(401, () => stranger.account.getAccount());
  await refused(404, () => dots.image.getImage({ image_id: 4711 }));
  await refused(422, () => dots.sshKey.createSshKey({ name: 'x', public_key: 'no' }));
}

async function keys() {
  const { data: { ssh_key: key }, status } = await dots.sshKey.createSshKey({ name: 'me', public_key: KEY });
  assert.equal(status, 201);
  assert.equal(key.fingerprint, FINGERPRINT);
  const { data: shown } = await dots.sshKey.getSshKey({ ssh_key_id: key.id });
  assert.deepEqual(shown.ssh_key, key);
  const { data: { ssh_key: renamed } } = await dots.sshKey.updateSshKey({ ssh_key_id: key.id, name: 'you' });
  assert.equal(renamed.name, 'you');
  const { data: list } = await dots.sshKey.listSshKeys({});
  assert.equal(list.ssh_keys.length, 1);
  assert.equal((await dots.sshKey.destroySshKey({ ssh_key_id: key.id })).status, 204);
}

async function tags() {
  assert.equal((await dots.tag.createTag({ name: 'web' })).status, 201);
  const resources = [{ resource_id: String(imageId), resource_type: 'image' }];
  assert.equal((await dots.tag.tagResources({ tag_name: 'web', resources })).status, 204);
  const { data: { tag } } = await dots.tag.getTag({ tag_name: 'WEB' });
  assert.deepEqual([tag.name, tag.resources.images.count], ['web', 1]);
  assert.equal((await dots.tag.listTags({})).data.tags.length, 1);
  assert.equal((await dots.tag.untagResources({ tag_name: 'web', resources })).status, 204);
  assert.equal((await dots.tag.deleteTag({ tag_name: 'web' })).status, 204);
}

async function images() {
  const { data: list } = await dots.image.listImages({ user_images: true });
  assert.ok(list.images.some((image) => image.id === imageId));
  // It sends POST where the API, also the original one, has PUT.
  await refused(405, () => dots.image.updateImage({ image_id: imageId, name: 'renamed' }));
  const { data: { action }, status } = await dots.image.transferImage({ image_id: imageId, region: 'nbg1' });
  assert.equal(status, 201);
  await until(async () => {
    const { data } = await dots.image.getImageAction({ image_id: imageId, action_id: action.id });
    return data.action.status === 'completed';
  });
  const { data: { actions } } = await dots.image.listImageActions({ image_id: imageId });
  assert.equal(actions.length, 2);
  assert.equal((await dots.action.getAction({ action_id: action.id })).data.action.type, 'transfer');
  assert.ok((await dots.action.listActions({})).data.actions.length >= 2);
}

async function droplets() {
  const request = { name: 'web', region: 'hal1', size: SIZE, image: imageId };
  const { data: { droplet }, status } = await dots.droplet.createDroplet(request);
  assert.equal(status, 202);
  const droplet_id = droplet.id;
  await until(async () => {
    const { data } = await dots.droplet.getDroplet({ droplet_id });
    return data.droplet.status === 'active';
  });
  assert.equal((await dots.droplet.listDroplets({})).data.droplets[0].id, droplet_id);
  const { data: { action } } = await dots.droplet.powerOnDroplet({ droplet_id });
  assert.equal(action.status, 'completed');
  const one = await dots.droplet.getDropletAction({ droplet_id, action_id: action.id });
  assert.equal(one.data.action.resource_type, 'droplet');
  assert.equal((await dots.droplet.listDropletActions({ droplet_id })).data.actions.length, 2);
  assert.equal((await dots.droplet.deleteDroplet({ droplet_id })).status, 204);
  assert.equal((await dots.image.deleteImage({ image_id: imageId })).status, 204);
}

async function main() {
  for (const part of [catalogue, errors, keys, tags, images, droplets]) await part();
  console.log(JSON.stringify({ passed: true }));
}

main().catch((error) => {
  console.error(error.response ? JSON.stringify(error.response.data) : '', error.stack);
  process.exit(1);
});
