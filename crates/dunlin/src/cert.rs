//! `dunlin cert`: an authority of one's own, and certificates of it, to try TLS with.

use crate::failure::Failure;
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a certificate lasts; browsers take none of a server's that lasts longer.
const DAYS: u64 = 397;
const AUTHORITY_DAYS: u64 = 10 * 365;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Make certificates for a trial of TLS: an authority, and a server's and a client's that it has
/// signed.
///
/// An authority that lies in the folder already is used again, so that more certificates can be made.
/// Whoever has its key (ca.key) can pretend to be any of them: for more than a trial, keep it elsewhere.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CertArgs {
    /// Where the files go
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    out: PathBuf,
    /// A name or address of the server; repeat for more [default: localhost, 127.0.0.1 and ::1]
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// A client, by the name that its certificate has; repeat for more [default: client]
    #[arg(long = "client", value_name = "NAME")]
    clients: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  dunlin cert                                   for localhost, and one client
  dunlin cert --server broker.example --client lamp-7 --client lamp-8

  dunlin --listen 'mqtts://127.0.0.1?certificate=certs/server.pem&key=certs/server.key'
  dunlin sub --cafile certs/ca.pem -t '#'";

/// An authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    is_new: bool,
}

impl CertArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let folder = &self.out;
        fs::create_dir_all(folder)
            .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
        let authority = Authority::of(folder)?;
        let mut made = Vec::new();
        if authority.is_new {
            made.push(("ca".to_owned(), "the authority: whom clients trust".to_owned()));
        }
        // Asked for a client alone, the server's stays as it is.
        if authority.is_new || !self.servers.is_empty() || self.clients.is_empty() {
            let names = match self.servers.is_empty() {
                true => ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
                false => self.servers.clone(),
            };
            let text = names.join(", ");
            authority.issue(folder, "server", names, ExtendedKeyUsagePurpose::ServerAuth)?;
            made.push(("server".to_owned(), text));
        }
        let clients = match self.clients.is_empty() && authority.is_new {
            true => vec!["client".to_owned()],
            false => self.clients.clone(),
        };
        for client in clients {
            check_file_name(&client)?;
            authority.issue(
                folder,
                &client,
                vec![client.clone()],
                ExtendedKeyUsagePurpose::ClientAuth,
            )?;
            let text = format!("the client {client}");
            made.push((client, text));
        }
        for (name, text) in made {
            let path = folder.join(&name);
            println!("{}.pem, {0}.key: {text}", path.display());
        }
        Ok(())
    }
}

impl Authority {
    /// The one that lies in a folder, or a new one.
    fn of(folder: &Path) -> Result<Self, Failure> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if certificate.exists() || key.exists() {
            let read = |path: &Path| {
                fs::read_to_string(path)
                    .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
            };
            let key_pair = KeyPair::from_pem(&read(&key)?)
                .map_err(|error| Failure::new(format!("{}: {error}", key.display())))?;
            let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, key_pair)
                .map_err(|error| Failure::new(format!("{}: {error}", certificate.display())))?;
            return Ok(Self { issuer, is_new: false });
        }
        let mut params = params("Dunlin trial authority", AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key_pair = KeyPair::generate().map_err(|error| unmade(&error))?;
        let made = params.self_signed(&key_pair).map_err(|error| unmade(&error))?;
        write(&key, &key_pair.serialize_pem(), true)?;
        write(&certificate, &made.pem(), false)?;
        Ok(Self { issuer: Issuer::new(params, key_pair), is_new: true })
    }

    fn issue(
        &self,
        folder: &Path,
        file: &str,
        names: Vec<String>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<(), Failure> {
        let common_name = names.first().cloned().unwrap_or_default();
        let mut params = params(&common_name, DAYS);
        if purpose == ExtendedKeyUsagePurpose::ServerAuth {
            let alternatives = CertificateParams::new(names).map_err(|error| {
                Failure::usage(format!("--server: a name is of no use: {error}"))
            })?;
            params.subject_alt_names = alternatives.subject_alt_names;
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key_pair = KeyPair::generate().map_err(|error| unmade(&error))?;
        let made = params.signed_by(&key_pair, &self.issuer).map_err(|error| unmade(&error))?;
        write(&folder.join(format!("{file}.key")), &key_pair.serialize_pem(), true)?;
        write(&folder.join(format!("{file}.pem")), &made.pem(), false)
    }
}

fn params(common_name: &str, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    // Clocks of devices are seldom right.
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * u32::try_from(days).unwrap_or(u32::MAX)).into();
    params
}

fn unmade(error: &rcgen::Error) -> Failure {
    Failure::new(format!("a certificate can't be made: {error}"))
}

/// A client's name becomes that of its files.
fn check_file_name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(Failure::usage(format!(
            "--client {name:?}: letters, digits and any of -_.@ make a name"
        )));
    }
    if ["ca", "server"].contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Failure::usage(format!("--client {name:?}: that name is taken")));
    }
    Ok(())
}

fn write(path: &Path, text: &str, is_secret: bool) -> Result<(), Failure> {
    let mode = if is_secret { 0o600 } else { 0o644 };
    // A file with other rights keeps them when it is written again.
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
