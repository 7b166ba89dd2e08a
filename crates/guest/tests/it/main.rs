//! Whole inspections: of small trees made here with mke2fs, and of real images.

mod distributions;
mod family;
mod hostile;
mod rules;
mod tree;
