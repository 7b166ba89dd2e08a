// Sends a file with tus-js-client, stopped in the middle and continued by another object:
// node tus.js URL TOKEN FILE

const fs = require('node:fs');
const tus = require('tus-js-client');

const [url, token, path] = process.argv.slice(2);
const size = fs.statSync(path).size;
const common = {
  headers: { authorization: `Bearer ${token}` },
  chunkSize: 1 << 20,
  retryDelays: null,
  metadata: { filename: 'disk.raw' },
};

/** The upload's URL once a chunk of it is there. */
function begin() {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(fs.createReadStream(path), {
      ...common,
      endpoint: `${url}/v2/uploads`,
      uploadSize: size,
      onError: reject,
      onChunkComplete: () => upload.abort().then(() => resolve(upload.url), reject),
    });
    upload.start();
  });
}

/** The offset at which the upload went on. */
function finish(uploadUrl) {
  return new Promise((resolve, reject) => {
    let first = null;
    const upload = new tus.Upload(fs.readFileSync(path), {
      ...common,
      uploadUrl,
      onError: reject,
      onProgress: (sent) => { first ??= sent; },
      onSuccess: () => resolve(first),
    });
    upload.start();
  });
}

async function refusal() {
  const upload = new tus.Upload(fs.readFileSync(path), {
    ...common,
    headers: { authorization: 'Bearer wrong' },
    endpoint: `${url}/v2/uploads`,
  });
  const error = await new Promise((resolve, reject) => {
    upload.options.onError = resolve;
    upload.options.onSuccess = () => reject(new Error('a wrong token was accepted'));
    upload.start();
  });
  return JSON.parse(error.originalResponse.getBody()).message;
}

async function main() {
  const message = await refusal();
  const uploadUrl = await begin();
  const continued = await finish(uploadUrl);
  console.log(JSON.stringify({ url: uploadUrl, continued, message }));
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
