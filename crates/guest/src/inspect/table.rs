//! The partition table as facts.

use std::sync::Arc;

use abbild_disk::{Disk, ErrorKind, partition};

use super::from_disk;
use crate::facts::{Facts, Partition, PartitionTable};
use crate::probe::firmware;
use crate::text::clean;

/// Partitions looked into. More exist only to waste time.
const MAX_PARTITIONS: usize = 64;

/// The partitions of `disk`; a filesystem without a table counts as partition 0. The rest of what
/// the table says goes into `facts`.
pub(super) fn read<D: Disk>(disk: &Arc<D>, facts: &mut Facts) -> Vec<Partition> {
    let (kind, sector_size, partitions) = match partition::read(disk) {
        Ok(table) => {
            facts.boot = firmware::probe(disk, &table);
            for warning in &table.warnings {
                facts.container.warnings.push(clean(warning));
            }
            let partitions = table
                .partitions
                .iter()
                .filter(|partition| partition.role != partition::Role::Extended)
                .take(MAX_PARTITIONS)
                .map(to_fact)
                .collect();
            let kind = table.scheme.to_string().to_lowercase();
            (kind, table.sector_size, partitions)
        }
        Err(error) => {
            if error.kind() != ErrorKind::NotRecognised {
                facts.faults.push(from_disk(&error));
            }
            let whole = vec![whole_disk(disk.virtual_size())];
            ("none".to_owned(), 512, whole)
        }
    };
    facts.partition_table = Some(PartitionTable {
        kind,
        sector_size,
        partitions: Vec::new(),
    });
    partitions
}

fn whole_disk(length: u64) -> Partition {
    Partition {
        number: 0,
        offset: 0,
        length,
        type_code: String::new(),
        name: None,
        uuid: None,
        bootable: false,
        attributes: 0,
        filesystem: None,
    }
}

fn to_fact(partition: &partition::Partition) -> Partition {
    let some = |text: &str| Some(clean(text)).filter(|text| !text.is_empty());
    Partition {
        number: partition.number,
        offset: partition.start,
        length: partition.len,
        type_code: partition.kind.to_string(),
        name: some(&partition.name),
        uuid: some(&partition.part_uuid),
        bootable: partition.bootable,
        attributes: partition.attributes,
        filesystem: None,
    }
}
