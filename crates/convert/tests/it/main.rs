//! Tests of the whole crate through its public functions, with `qemu-img` and the programs that
//! pack files as independent witnesses. `qemu-img` is required (Debian: `apt install qemu-utils`).

// Clippy knows that tests may unwrap, but not what tests call.
#![allow(clippy::unwrap_used)]

mod canonical;
mod export;
mod hostile;
mod overlay;
mod recipe;
mod stream;
mod stream_xz_zstd;
mod support;
