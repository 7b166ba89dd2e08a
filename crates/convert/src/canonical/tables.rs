//! The two-level map from guest clusters to their place in the file.

use super::packer::Packer;
use crate::Result;
use crate::qcow2::{self, CLUSTER, L2_ENTRIES};

/// Where the L1 table is.
pub(super) struct L1 {
    pub(super) entries: u64,
    pub(super) offset: u64,
}

/// Builds the tables in guest order. Only one L2 table is in memory; it is appended to the file as
/// soon as a later one is needed.
pub(super) struct Tables {
    l1: Vec<u64>,
    l2: Vec<u64>,
    /// Index in `l1` of the table in `l2`.
    current: Option<usize>,
    data_clusters: u64,
}

impl Tables {
    /// # Errors
    /// `virtual-size` if such a disk is too large.
    pub(super) fn new(virtual_size: u64) -> Result<Self> {
        let entries = qcow2::l1_entries(virtual_size)?;
        Ok(Self {
            l1: vec![0; entries as usize],
            l2: vec![0; L2_ENTRIES as usize],
            current: None,
            data_clusters: 0,
        })
    }

    /// Makes the table that maps guest cluster `index` the current one.
    pub(super) fn open(&mut self, index: u64, packer: &mut Packer<'_>) -> Result<()> {
        let wanted = (index / L2_ENTRIES) as usize;
        if self.current != Some(wanted) {
            self.close(packer)?;
            self.current = Some(wanted);
        }
        Ok(())
    }

    /// Maps guest cluster `index`, whose table is the current one, with an L2 entry.
    pub(super) fn set(&mut self, index: u64, entry: u64) {
        self.l2[(index % L2_ENTRIES) as usize] = entry;
        self.data_clusters += 1;
    }

    /// Guest clusters mapped so far.
    pub(super) fn data_clusters(&self) -> u64 {
        self.data_clusters
    }

    /// Appends the last L2 table and the L1 table.
    pub(super) fn finish(mut self, packer: &mut Packer<'_>) -> Result<L1> {
        self.close(packer)?;
        let offset = packer.put_table(&to_bytes(&self.l1))?;
        Ok(L1 {
            entries: self.l1.len() as u64,
            offset,
        })
    }

    fn close(&mut self, packer: &mut Packer<'_>) -> Result<()> {
        if let Some(current) = self.current.take() {
            self.l1[current] = packer.put_cluster(&to_bytes(&self.l2))?;
            self.l2.fill(0);
        }
        Ok(())
    }
}

fn to_bytes(entries: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len().max(CLUSTER / 8) * 8);
    bytes.extend(entries.iter().flat_map(|entry| entry.to_be_bytes()));
    bytes
}
