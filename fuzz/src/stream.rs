//! Targets that decode compressed streams.

use std::fs::File;

use abbild_convert::{Compression, Control, DETECT_LEN, StagingOptions, decode_to_staging};
use rustix::fs::{MemfdFlags, memfd_create};

/// Bytes that a stream may decode to.
const LIMIT: u64 = 4 << 20;

/// Decodes the input if it begins like `wanted`.
fn stream(input: &[u8], wanted: Compression) {
    let head = &input[..input.len().min(DETECT_LEN)];
    if Compression::detect(head) != Some(wanted) {
        return;
    }
    let Ok(memory) = memfd_create(c"fuzz", MemfdFlags::CLOEXEC) else {
        return;
    };
    let out = File::from(memory);
    let options = StagingOptions { limit: LIMIT };
    match decode_to_staging(input, &out, options, &Control::none()) {
        Ok(decoded) => {
            assert!(decoded.bytes <= LIMIT);
            assert_eq!(out.metadata().map(|m| m.len()).ok(), Some(decoded.bytes));
        }
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            assert!(error.offset().is_none_or(|at| at <= input.len() as u64));
        }
    }
}

/// A gzip file.
pub fn gzip(input: &[u8]) {
    stream(input, Compression::Gzip);
}

/// A bzip2 file.
pub fn bzip2(input: &[u8]) {
    stream(input, Compression::Bzip2);
}

/// An xz file.
pub fn xz(input: &[u8]) {
    stream(input, Compression::Xz);
}

/// A Zstandard file.
pub fn zstd(input: &[u8]) {
    stream(input, Compression::Zstd);
}
