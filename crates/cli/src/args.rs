//! What may be typed: every command and option, and the help texts that are its reference.
//!
//! Nothing here does anything. [`Cli`] is parsed in `main`, which hands each command's arguments
//! to the module of the same name under `commands/`.

mod accounts;
mod desk;
mod image;
mod vm;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use abbild_convert::Target;
use abbild_guest::{Lang, RuleId};
use abbild_service::config::parse_bytes;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use accounts::*;
pub use desk::*;
pub use image::*;
pub use vm::*;

/// Custom images for a cloud: check, upload, serve, boot.
#[derive(Debug, Parser)]
#[command(
    name = "abbild",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Data goes to standard output, everything else to standard error. \
    Exit status: 0 done, 1 refused or failed, 2 could not be read or wrong usage."
)]
pub struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Language of reports [default: that of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, global = true, value_name = "LANG")]
    pub lang: Option<LangArg>,
    #[command(subcommand)]
    pub command: Command,
}

/// A language of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LangArg {
    /// German
    De,
    /// English
    En,
}

impl From<LangArg> for Lang {
    fn from(lang: LangArg) -> Self {
        match lang {
            LangArg::De => Self::De,
            LangArg::En => Self::En,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether an image file meets the requirements, without uploading anything
    Check(CheckArgs),
    /// List the rules that images are checked against
    Rules,
    /// Write an image in another format
    Convert(ConvertArgs),
    /// Remember a service and a token
    Login(LoginArgs),
    /// Upload images, see them, copy them to regions
    #[command(subcommand)]
    Image(ImageCommand),
    /// SSH public keys of the account
    #[command(subcommand)]
    Key(KeyCommand),
    /// Tokens of the account, for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Places where machines can run
    #[command(subcommand)]
    Region(RegionCommand),
    /// Sizes of machines
    #[command(subcommand)]
    Size(SizeCommand),
    /// What the account stores and runs
    Usage,
    /// Create machines and enter them
    #[command(subcommand)]
    Vm(VmCommand),
    /// Run the service on this machine
    Serve(ServeArgs),
    /// Check and show the configuration of the service
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say whether this host has what the service needs, and how to mend what it lacks
    #[command(
        after_help = "Exit status: 0 the service works, though it may lack something; 1 it does not."
    )]
    Doctor(ServeArgs),
    /// Operator's commands, on the machine that has the service's data
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// `abbild serve`
#[derive(Debug, Args)]
#[command(
    after_help = "Without a file, the defaults make a whole cloud on one machine: SQLite, \
    two regions with a directory each, QEMU. abbild.example.toml explains every setting. \
    Variables override the file: ABBILD__LIMITS__MAX_UPLOAD_SIZE='5 GiB' is `max_upload_size` in \
    `[limits]`. \
    ABBILD_LOG sets what is logged, for example `debug` or `abbild_service=debug`."
)]
pub struct ServeArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "ABBILD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of database, images and machines, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on, instead of the configured one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address to serve TLS on, instead of the configured one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub tls_listen: Option<SocketAddr>,
}

/// `abbild config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration, and in which line
    #[command(after_help = "Exit status: 0 nothing is wrong, 1 something is.")]
    Check {
        /// Configuration file; without one, the environment and the defaults are checked
        #[arg(value_name = "FILE", env = "ABBILD_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print every setting in force, and where it comes from
    Show(ServeArgs),
}

/// `abbild admin …`
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Accounts of customers
    #[command(subcommand)]
    Account(AdminAccountCommand),
    /// Users, who can log in
    #[command(subcommand)]
    User(AdminUserCommand),
    /// Tokens, of any account
    #[command(subcommand)]
    Token(AdminTokenCommand),
    /// How much accounts may have
    #[command(subcommand)]
    Quota(AdminQuotaCommand),
    /// Show who did what, newest first
    Audit(AdminAuditArgs),
    /// Regions, and giving one up
    #[command(subcommand)]
    Region(AdminRegionCommand),
    /// Compare the database with what is stored, and repair what differs
    Fsck(AdminFsckArgs),
    /// Remove at once what the service removes in its own time
    Gc(AdminGcArgs),
    /// Make a backup while the service runs
    Backup(AdminBackupArgs),
    /// Put a backup back, where there is nothing yet
    Restore(AdminRestoreArgs),
    /// Show which schema the database has, or take it back for an older release
    #[command(
        after_help = "To return to the previous release: ask it for the newest version that it \
        knows, stop the service, make a copy of the database, and have the newer release go back \
        to that version. What the older schema has no place for is lost, idempotency keys and the \
        settings of newer features for example; images, machines, keys and tokens are kept. \
        The service brings the schema up to date by itself when it starts."
    )]
    Schema {
        #[command(flatten)]
        service: ServeArgs,
        /// Undo what was applied after this version; the service must be stopped
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "The image is raw, qcow2, VHDX, VDI or VMDK, plain, in a tar archive or OVA, or \
    compressed with gzip, bzip2, xz or zstd; the format is told by content. Nothing is modified and nothing named inside the image is opened. \
    A compressed image is unpacked into a temporary file (in TMPDIR) that disappears by itself.\n\n\
    Exit status: 0 accepted, also with warnings; 1 refused: a requirement is not met, or the file \
    is an image that is refused on purpose (a backing file, too large, an unsupported format); \
    2 could not be read: no such file, an I/O error, damaged, truncated, empty or not an image."
)]
pub struct CheckArgs {
    /// Image file
    #[arg(required_unless_present = "explain")]
    pub image: Option<PathBuf>,
    /// Largest accepted virtual disk: bytes, or with KiB, MiB, GiB, TiB
    #[arg(long, value_name = "SIZE", default_value = "100GiB", value_parser = parse_bytes)]
    pub max_size: u64,
    /// Print a SARIF 2.1.0 log, as code scanning reads it
    #[arg(long)]
    pub sarif: bool,
    /// Print JUnit XML, as Jenkins and GitLab read it
    #[arg(long, conflicts_with = "sarif")]
    pub junit: bool,
    /// Explain a rule instead: what is looked at, why, and how to fix it
    #[arg(
        long,
        value_name = "RULE",
        conflicts_with_all = ["image", "sarif", "junit"],
        hide_possible_values = true,
        value_parser = rule_parser(),
    )]
    pub explain: Option<RuleId>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "IN is anything that `abbild check` reads, also compressed; it is then unpacked into \
    a temporary file in the directory of OUT that disappears by itself.\n\n\
    Without -O the format is that of OUT's suffix: .img or .raw, .qcow2, .vhdx, .vdi, .vmdk; with \
    any other suffix it is qcow2. Zeros are not stored, and the same content gives the same bytes, \
    whatever the format of IN.\n\n\
    OUT appears under its name when it is complete and on the disk; until then it has no name, or \
    a temporary one in the same directory.\n\n\
    Exit status: 0 done; 1 failed, OUT exists, or IN is refused on purpose; 2 IN could not be read, \
    or wrong usage; 130 stopped by Ctrl-C."
)]
pub struct ConvertArgs {
    /// Image file
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// File to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Format of OUT [default: by its suffix, else qcow2]
    #[arg(short = 'O', long, value_name = "FORMAT", value_parser = target_parser())]
    pub format: Option<Target>,
    /// Compress: a qcow2 with zstd, a vmdk as streamOptimized; the others cannot be
    #[arg(long)]
    pub compress: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
    /// Do not wait until OUT is on the disk: faster, but after a power failure it may be damaged
    #[arg(long)]
    pub no_sync: bool,
    /// Largest accepted virtual disk: bytes, or with KiB, MiB, GiB, TiB
    #[arg(long, value_name = "SIZE", default_value = "100GiB", value_parser = parse_bytes)]
    pub max_size: u64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The pair is kept in $XDG_CONFIG_HOME/abbild/credentials.toml, readable by \
    you alone. ABBILD_URL and ABBILD_TOKEN in the environment take its place."
)]
pub struct LoginArgs {
    /// URL of the service, for example http://127.0.0.1:8080
    pub url: String,
    /// Token; asked for, or read from standard input, when absent
    #[arg(long, env = "ABBILD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Log in as this user instead, whose password is asked for, and make a token for this machine
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Authorities that may have signed the service's certificate, in PEM, instead of the public
    /// ones; remembered
    #[arg(long, value_name = "FILE", env = "ABBILD_CA")]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Add a public key
    Add(KeyAddArgs),
    /// List the keys
    List,
    /// Delete a key; machines that have it keep it
    Delete(KeyRef),
}

#[derive(Debug, Args)]
pub struct KeyAddArgs {
    /// Name of the key
    pub name: String,
    /// Public key file such as ~/.ssh/id_ed25519.pub, or - for standard input
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub struct KeyRef {
    /// Id, name or fingerprint
    pub key: String,
}

#[derive(Debug, Subcommand)]
pub enum RegionCommand {
    /// List the regions
    List,
}

#[derive(Debug, Subcommand)]
pub enum SizeCommand {
    /// List the sizes
    List,
}

/// Takes the name of a format that can be written.
fn target_parser() -> impl TypedValueParser<Value = Target> {
    PossibleValuesParser::new(Target::ALL.map(Target::name))
        .try_map(|name| Target::from_name(&name).ok_or("not a format that can be written"))
}

/// Takes the name of a rule; clap suggests the nearest for one that there is not.
fn rule_parser() -> impl TypedValueParser<Value = RuleId> {
    PossibleValuesParser::new(RuleId::ALL.iter().map(|rule| rule.as_str()))
        .try_map(|name| name.parse::<RuleId>())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{text}` is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_may_be_fractions_and_not_negative() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["-1", "NaN", "inf", "soon", "1e300"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn global_flags_may_follow_the_command() {
        let cli = Cli::try_parse_from(["abbild", "image", "list", "--json", "--lang", "de"]);
        let cli = cli.unwrap();
        assert!(cli.json);
        assert_eq!(cli.lang, Some(LangArg::De));
    }

    #[test]
    fn an_image_or_a_rule_is_checked() {
        let check = |args: &[&'static str]| {
            Cli::try_parse_from(["abbild", "check"].iter().chain(args).copied())
        };
        assert!(check(&["x"]).is_ok());
        assert!(check(&["--explain", "sshd"]).is_ok());
        for wrong in [
            &["--explain", "no-such"][..],
            &["x", "--explain", "sshd"],
            &["x", "--sarif", "--junit"],
            &[],
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
        let typo = check(&["--explain", "ssh"]).unwrap_err().to_string();
        assert!(typo.contains("a similar value exists: 'sshd'"), "{typo}");
    }

    #[test]
    fn ssh_takes_everything_after_the_dashes() {
        let cli = Cli::try_parse_from(["abbild", "vm", "ssh", "web", "--", "ls", "-l", "--json"]);
        let Command::Vm(VmCommand::Ssh(args)) = cli.unwrap().command else {
            panic!("parsed as another command");
        };
        assert_eq!(args.args, ["ls", "-l", "--json"]);
    }

    #[test]
    fn a_machine_needs_a_key_or_user_data() {
        let base = [
            "abbild", "vm", "create", "--image", "i", "--region", "r", "--size", "s",
        ];
        let with = |extra: &[&'static str]| {
            Cli::try_parse_from(base.iter().copied().chain(extra.iter().copied()))
        };
        assert!(with(&[]).is_err());
        assert!(with(&["--key", "k"]).is_ok());
        assert!(with(&["--user-data", "f"]).is_ok());
    }
}
