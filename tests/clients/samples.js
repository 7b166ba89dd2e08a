// What the scripts send.

module.exports = {
  KEY: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF a@b',
  FINGERPRINT: '04:e0:f8:2c:1b:cd:ce:34:32:bc:54:d5:94:4a:7c:4e',
  SIZE: 's-1vcpu-512mb-10gb',
};
