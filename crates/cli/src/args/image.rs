//! The arguments of `abbild image`.

use std::path::PathBuf;

use abbild_convert::Target;
use clap::{Args, Subcommand};

use super::target_parser;

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Upload an image file; run again after an interruption, it continues
    Upload(UploadArgs),
    /// Have the service fetch an image from a URL
    Import(ImportArgs),
    /// List images
    List,
    /// Show one image
    Show(ImageRef),
    /// Copy an image to a further region
    AddRegion(AddRegionArgs),
    /// Take an image out of a region
    RemoveRegion(RemoveRegionArgs),
    /// Print the service's report on an image
    Report(ReportArgs),
    /// Have the service boot an image, and see what becomes of it
    Probe(ProbeArgs),
    /// Delete an image everywhere
    Delete(ImageRef),
    /// Download an image into a file, in any of the five formats
    Export(ExportArgs),
    /// Follow an import to its end, or all images as they change
    Watch(WatchArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without -O the format is that of OUT's suffix: .img or .raw, .qcow2, .vhdx, .vdi, \
    .vmdk; with any other suffix it is qcow2. A qcow2 comes compressed, as the service keeps it, and \
    its digest is verified.\n\n\
    A download that breaks off goes on where it was, except of a compressed vmdk, which begins anew. \
    OUT appears under its name when it is complete."
)]
pub struct ExportArgs {
    /// Id or name of the image
    pub image: String,
    /// File to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Format of OUT [default: by its suffix, else qcow2]
    #[arg(short = 'O', long, value_name = "FORMAT", value_parser = target_parser())]
    pub format: Option<Target>,
    /// Compress: a vmdk as streamOptimized (a qcow2 is compressed anyway; the others cannot be)
    #[arg(long)]
    pub compress: bool,
    /// Do not compress a qcow2
    #[arg(long, conflicts_with = "compress")]
    pub no_compress: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "With an image the exit status is that of its import: 0 available everywhere, 1 \
    failed. Without one, every change of every image is a line, with --json an object, until Ctrl-C."
)]
pub struct WatchArgs {
    /// Id or name of the image
    pub image: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Id or name
    pub image: String,
    /// Print a SARIF log, for code scanning
    #[arg(long)]
    pub sarif: bool,
    /// Print JUnit XML, for pipelines
    #[arg(long, conflicts_with = "sarif")]
    pub junit: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The image is booted on a machine of its own, which reaches nobody and is nobody's, and \
    switched off when all is seen or the time is over. What that proves becomes part of the report; the \
    image stays available whatever it is.\n\n\
    The exit status is 0 if the boot went as it should, and 1 if something that was proven is not as it \
    should be, or the image could not be booted at all."
)]
pub struct ProbeArgs {
    /// Id or name of the image
    pub image: String,
    /// Region in which it is booted [default: any that has it]
    #[arg(long, value_name = "SLUG")]
    pub region: Option<String>,
    /// File for the screen at the end, as PNG
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    pub screenshot: Option<PathBuf>,
    /// File for what the serial console printed
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    pub log: Option<PathBuf>,
    /// Replace the files if they exist
    #[arg(long)]
    pub force: bool,
    /// Return at once instead of waiting for the end
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct ImageRef {
    /// Id or name
    pub image: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A plain image is checked here first, which takes milliseconds, and is not \
    sent if it would be refused. A compressed image is checked by the service unless --check asks \
    to unpack it here as well. Content that the account has already is not sent at all, and a plain \
    image whose content is much smaller than its file goes as a compact qcow2."
)]
pub struct UploadArgs {
    /// Image file: raw, qcow2, VHDX, VDI or VMDK, plain, in a tar archive or OVA, or compressed
    /// with gzip, bzip2, xz or zstd
    pub image: PathBuf,
    /// Name of the new image
    #[arg(long)]
    pub name: String,
    /// Region in which it shall be available; may be repeated
    #[arg(long = "region", value_name = "SLUG", required = true)]
    pub regions: Vec<String>,
    /// Free text
    #[arg(long, default_value = "")]
    pub description: String,
    /// Tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Check a compressed image here too, before sending it
    #[arg(long, conflicts_with = "no_check")]
    pub check: bool,
    /// Send without checking here; the service checks all the same
    #[arg(long)]
    pub no_check: bool,
    /// Send the file as it is, even if its content could be sent in fewer bytes
    #[arg(long)]
    pub as_is: bool,
    /// Send the content as a compact qcow2, also where that seems not to be faster: to a service on
    /// this machine, say, that is really at the other end of a tunnel
    #[arg(long, conflicts_with = "as_is")]
    pub compact: bool,
    /// Return after the last byte instead of waiting for the import
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The service fetches the file by itself: http or https, through redirections, also \
    from presigned URLs, and goes on where it was after interruptions. What the file is, is told by \
    its content. URLs with a user name or password are refused, and so are hosts that are not on \
    the public internet, unless the operator has opened them."
)]
pub struct ImportArgs {
    /// Where the image lies
    pub url: String,
    /// Name of the new image
    #[arg(long)]
    pub name: String,
    /// Region in which it shall be available; may be repeated
    #[arg(long = "region", value_name = "SLUG", required = true)]
    pub regions: Vec<String>,
    /// Digest of the file at the URL: sha256:HEX, sha384:HEX or sha512:HEX
    #[arg(long, value_name = "ALGORITHM:HEX")]
    pub checksum: Option<String>,
    /// Free text
    #[arg(long, default_value = "")]
    pub description: String,
    /// Tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Return at once instead of waiting for the import
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct AddRegionArgs {
    /// Id or name of the image
    pub image: String,
    /// Slug of the region
    pub region: String,
    /// Return at once instead of waiting for the copy
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Refused while machines there use the image, and for the last region: delete the \
    image instead."
)]
pub struct RemoveRegionArgs {
    /// Id or name of the image
    pub image: String,
    /// Slug of the region
    pub region: String,
}
