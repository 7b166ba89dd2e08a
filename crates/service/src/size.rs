//! The sizes of machines: the smallest of those that existing clients ask for by name.

/// One size.
#[derive(Debug)]
pub struct Size {
    /// Short name.
    pub slug: &'static str,
    /// Virtual processors.
    pub vcpus: u32,
    /// MiB.
    pub memory_mib: u32,
    /// GB (2^30 bytes) of root disk.
    pub disk_gb: u32,
}

const fn size(slug: &'static str, vcpus: u32, memory_mib: u32, disk_gb: u32) -> Size {
    Size {
        slug,
        vcpus,
        memory_mib,
        disk_gb,
    }
}

/// All sizes, smallest first.
pub const SIZES: [Size; 5] = [
    size("s-1vcpu-512mb-10gb", 1, 512, 10),
    size("s-1vcpu-1gb", 1, 1024, 25),
    size("s-1vcpu-2gb", 1, 2048, 50),
    size("s-2vcpu-2gb", 2, 2048, 60),
    size("s-2vcpu-4gb", 2, 4096, 80),
];

impl Size {
    /// By slug.
    pub fn find(slug: &str) -> Option<&'static Self> {
        SIZES.iter().find(|size| size.slug == slug)
    }

    /// Root disk in bytes.
    pub fn disk_bytes(&self) -> u64 {
        u64::from(self.disk_gb) << 30
    }

    /// GB of the disk of a machine with this size whose row says `kept` of it.
    pub fn disk_gb_of(&self, kept: Option<i64>) -> i64 {
        kept.unwrap_or(self.disk_gb.into())
    }

    /// On the wire. Prices are the operator's business and are zero here.
    pub fn to_api(&self, regions: Vec<String>) -> abbild_api::Size {
        abbild_api::Size {
            slug: self.slug.to_owned(),
            memory: self.memory_mib.into(),
            vcpus: self.vcpus.into(),
            disk: self.disk_gb.into(),
            transfer: 0.0,
            price_monthly: 0.0,
            price_hourly: 0.0,
            regions,
            available: true,
            description: "Basic".to_owned(),
        }
    }
}
