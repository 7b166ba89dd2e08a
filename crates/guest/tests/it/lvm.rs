//! LVM groups in the making: one physical volume with linear volumes and the text that describes
//! them, laid out as LVM's own tools do (`fixtures/lvm` has what those make).

const SECTOR: usize = 512;
/// Bytes per extent, and where the first one begins.
const EXTENT: usize = 64 << 10;
const START: usize = 1 << 20;
/// The metadata area.
const AREA: usize = 4096;
const AREA_LEN: usize = START - AREA;

/// A physical volume of the group `group` with these volumes. A volume without bytes is described
/// as thin.
pub fn physical_volume(group: &str, volumes: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; START];
    let mut described = String::new();
    for (index, (name, contents)) in volumes.iter().enumerate() {
        let first = (bytes.len() - START) / EXTENT;
        let count = contents.len().div_ceil(EXTENT).max(1);
        bytes.extend_from_slice(contents);
        bytes.resize(START + (first + count) * EXTENT, 0);
        let segment = match contents.is_empty() {
            true => "type = \"thin\"\nthin_pool = \"pool\"\n".to_owned(),
            false => {
                format!("type = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", {first}]\n")
            }
        };
        described += &format!(
            "{name} {{\nid = \"{}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\n\
             segment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = {count}\n{segment}}}\n}}\n",
            uuid('v', index)
        );
    }
    let extents = (bytes.len() - START) / EXTENT;
    let text = format!(
        "{group} {{\nid = \"{}\"\nseqno = 3\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\"]\n\
         extent_size = {}\nphysical_volumes {{\npv0 {{\nid = \"{}\"\npe_start = {}\n\
         pe_count = {extents}\n}}\n}}\nlogical_volumes {{\n{described}}}\n}}\n",
        uuid('g', group.len()),
        EXTENT / SECTOR,
        uuid('p', group.len()),
        START / SECTOR,
    );
    write_label(&mut bytes, &uuid('p', group.len()));
    write_area(&mut bytes, text.as_bytes());
    bytes
}

/// 38 characters, of which only `kind` and `number` differ.
fn uuid(kind: char, number: usize) -> String {
    format!("{kind}00000-0000-0000-0000-0000-0000-{number:06}")
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    bytes[at..at + 8].copy_from_slice(&(number as u64).to_le_bytes());
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    (!hasher.finalize()).to_le_bytes()
}

fn write_label(bytes: &mut [u8], uuid: &str) {
    let len = bytes.len();
    let sector = &mut bytes[SECTOR..2 * SECTOR];
    sector[..8].copy_from_slice(b"LABELONE");
    put(sector, 8, 1);
    sector[20] = 32;
    sector[24..32].copy_from_slice(b"LVM2 001");
    sector[32..64].copy_from_slice(uuid.replace('-', "").as_bytes());
    put(sector, 64, len);
    // One data area up to the end, then one metadata area.
    put(sector, 72, START);
    put(sector, 104, AREA);
    put(sector, 112, AREA_LEN);
    let sum = checksum(&sector[20..]);
    sector[16..20].copy_from_slice(&sum);
}

fn write_area(bytes: &mut [u8], text: &[u8]) {
    bytes[AREA + SECTOR..][..text.len()].copy_from_slice(text);
    let header = &mut bytes[AREA..AREA + SECTOR];
    header[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
    header[20] = 1;
    put(header, 24, AREA);
    put(header, 32, AREA_LEN);
    put(header, 40, SECTOR);
    put(header, 48, text.len());
    header[56..60].copy_from_slice(&checksum(text));
    let sum = checksum(&header[4..]);
    header[..4].copy_from_slice(&sum);
}
