//! A certificate for loopback, signed by an authority of our own.
//!
//! Clients that insist on TLS can so reach a service that nobody bought a certificate for: they are
//! told to trust `ca.pem`. Whoever does so trusts it for this machine alone, because the authority
//! is constrained to loopback names and addresses (RFC 5280, 4.2.1.10). It stays the same for ten
//! years; the certificate below it lives for a year and is made anew a month before it ends.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::NamedTempFile;

use super::{Pair, provider};

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const AUTHORITY_YEARS: i64 = 10;
/// What browsers accept at most is 398 days.
const CERTIFICATE_DAYS: i64 = 397;
/// How long before its end a certificate is made anew.
const MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// The certificate of the authority.
pub fn authority(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

fn pair(directory: &Path) -> Pair {
    Pair {
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
    }
}

/// Whether clients that trust the authority accept the certificate, and will for a while.
pub fn is_good(directory: &Path) -> bool {
    UnixTime::now()
        .as_secs()
        .checked_add(MARGIN.as_secs())
        .is_some_and(|later| is_accepted(directory, later).is_ok_and(|accepted| accepted))
}

/// Whether a client accepts the certificate at a time, in seconds since 1970.
fn is_accepted(directory: &Path, at: u64) -> anyhow::Result<bool> {
    let read = |path: &Path| CertificateDer::from_pem_file(path);
    let (root, certificate) = (
        read(&authority(directory))?,
        read(&pair(directory).certificate)?,
    );
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    for name in NAMES {
        let name = ServerName::try_from(name)?;
        let verdict = verifier.verify_server_cert(&certificate, &[], &name, &[], at);
        if verdict.is_err() {
            return Ok(false);
        }
    }
    Ok(pair(directory).key.exists())
}

/// The files of a good certificate. Makes what is missing, and anew what is about to end.
///
/// # Errors
/// When the files cannot be written.
pub fn renew(directory: &Path) -> anyhow::Result<Pair> {
    let pair = pair(directory);
    if is_good(directory) {
        return Ok(pair);
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let issuer = issuer(directory, false)?;
    issue(&pair, &issuer)?;
    if !is_good(directory) {
        // The authority itself is at its end, or its files do not belong together.
        let issuer = self::issuer(directory, true)?;
        issue(&pair, &issuer)?;
        tracing::warn!(
            path = %authority(directory).display(),
            "there is a new authority for loopback: clients must be told to trust it"
        );
    }
    if !is_good(directory) {
        bail!(
            "the new certificate in {} is not accepted; is the clock right?",
            directory.display()
        );
    }
    Ok(pair)
}

/// The authority: the one that is there, unless a new one is wanted or needed.
fn issuer(directory: &Path, new: bool) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key_file = directory.join("ca.key");
    let kept = std::fs::read_to_string(&key_file).ok();
    let kept = kept.and_then(|pem| KeyPair::from_pem(&pem).ok());
    match kept {
        Some(key) if !new && authority(directory).exists() => {
            Ok(Issuer::new(authority_params()?, key))
        }
        _ => {
            let key = KeyPair::generate()?;
            let certificate = authority_params()?.self_signed(&key)?;
            write(&key_file, &key.serialize_pem(), 0o600)?;
            write(&authority(directory), &certificate.pem(), 0o644)?;
            Ok(Issuer::new(authority_params()?, key))
        }
    }
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    let name = "Abbild on this machine";
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut one = [0; 16];
    one[15] = 1;
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(one, [255; 16])),
        ],
        excluded_subtrees: Vec::new(),
    });
    set_validity(&mut params, Span::new().years(AUTHORITY_YEARS))?;
    Ok(params)
}

fn issue(pair: &Pair, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, NAMES[0]);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, Span::new().days(CERTIFICATE_DAYS - 1))?;
    let certificate = params.signed_by(&key, issuer)?;
    write(&pair.key, &key.serialize_pem(), 0o600)?;
    write(&pair.certificate, &certificate.pem(), 0o644)
}

/// Sets the time for which `params` are valid: from yesterday, because clocks differ, for
/// `length`.
fn set_validity(params: &mut CertificateParams, length: Span) -> anyhow::Result<()> {
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    let midnight = |date: Date| -> anyhow::Result<_> {
        let (month, day) = (date.month().try_into()?, date.day().try_into()?);
        Ok(date_time_ymd(date.year().into(), month, day))
    };
    params.not_before = midnight(today.yesterday()?)?;
    params.not_after = midnight(today.checked_add(length)?)?;
    Ok(())
}

/// Appears whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let put = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        let permissions = std::fs::Permissions::from_mode(mode);
        file.as_file().set_permissions(permissions)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(directory)?.sync_all()
    };
    put().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let pair = renew(directory.path()).unwrap();
        let read = || std::fs::read(&pair.certificate).unwrap();
        let first = read();
        renew(directory.path()).unwrap();
        assert_eq!(read(), first);
        for key in ["ca.key", "server.key"] {
            let mode = directory.path().join(key).metadata().unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_under_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let pair = renew(directory.path()).unwrap();
        let ca = std::fs::read(authority(directory.path())).unwrap();
        std::fs::write(&pair.certificate, "damaged").unwrap();
        assert!(!is_good(directory.path()));
        renew(directory.path()).unwrap();
        assert!(is_good(directory.path()));
        assert_eq!(std::fs::read(authority(directory.path())).unwrap(), ca);
    }

    #[test]
    fn an_authority_whose_key_is_another_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        renew(directory.path()).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(directory.path().join("ca.key"), other).unwrap();
        std::fs::remove_file(directory.path().join("server.pem")).unwrap();
        renew(directory.path()).unwrap();
        assert!(is_good(directory.path()));
    }

    #[test]
    fn a_certificate_ends_within_the_year_and_is_renewed_a_month_before() {
        let directory = tempfile::tempdir().unwrap();
        renew(directory.path()).unwrap();
        let day = 24 * 3600;
        let now = UnixTime::now().as_secs();
        let accepted = |days: u64| is_accepted(directory.path(), now + days * day).unwrap();
        assert!(accepted(0) && accepted(394));
        assert!(!accepted(398));
    }
}
