//! Finding runs of zeros, the most common content of a disk.

use std::ops::Range;

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

/// The parts of `bytes` that are not zeros, in steps of `granule` bytes from its beginning.
pub(crate) fn data_runs(bytes: &[u8], granule: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += run(&bytes[at..], granule, true);
        let start = at;
        at += run(&bytes[at..], granule, false);
        (start < at).then_some(start..at)
    })
}

/// Length of the run of granules at the start of `bytes` that are all zero, or all not.
fn run(bytes: &[u8], granule: usize, zero: bool) -> usize {
    bytes
        .chunks(granule)
        .take_while(|granule| is_zero(granule) == zero)
        .map(<[u8]>::len)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_whole_granules_and_leave_zeros_out() {
        let runs = |bytes: &[u8]| data_runs(bytes, 4).collect::<Vec<_>>();
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[0; 9]), []);
        assert_eq!(
            runs(&[0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]),
            [4..12, 16..17]
        );
        assert_eq!(runs(&[0, 0, 0, 0, 1, 1, 1, 1]).first(), Some(&(4..8)));
    }

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
