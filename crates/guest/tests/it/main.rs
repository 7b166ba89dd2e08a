//! Whole inspections: of small trees made here with mke2fs, and of real images.

#![allow(clippy::unwrap_used)] // a test that cannot be set up has failed

mod bounds;
mod checks;
mod cloud;
mod disk;
mod distributions;
mod family;
mod hostile;
mod layout;
mod lvm;
mod oracle;
mod proven;
mod rules;
mod split;
mod superblocks;
mod systems;
mod tree;
