//! Finding runs of zeros, the most common content of a disk.

const ZEROS: [u8; 4096] = [0; 4096];

/// Whether every byte of `bytes` is zero.
///
/// Compares slices, which is the C library's vectorised `memcmp`, and stops at the first piece
/// that differs.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|piece| ZEROS.starts_with(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_byte_anywhere_is_found() {
        for len in [1, 7, 4095, 4096, 4097, 65536, 70000] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len - 1] {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "byte {at} of {len}");
                bytes[at] = 0;
            }
        }
        assert!(is_zero(&[]));
    }
}
