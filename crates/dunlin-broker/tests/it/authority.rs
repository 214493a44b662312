//! An authority and what it signs, for listeners with TLS and for their clients.

use dunlin_broker::config::{ClientCertificate, ServerFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use std::fs;
use std::path::Path;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    pub(crate) fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate of a client, which may have a name, and its key.
    pub(crate) fn sign_client(&self, common_name: Option<&str>) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common_name) = common_name {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        self.sign(&params)
    }

    /// Writes `server.pem` and `server.key`, new ones, into a folder: for a listener at localhost.
    pub(crate) fn write_server(&self, folder: &Path) -> ServerFiles {
        self.write_server_until(folder, 4096)
    }

    /// The same, of use until this year begins.
    pub(crate) fn write_server_until(&self, folder: &Path, year: i32) -> ServerFiles {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        params.not_after = date_time_ymd(year, 1, 1);
        let (certificate, key) = self.sign(&params);
        let files = ServerFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            ..ServerFiles::default()
        };
        fs::write(&files.certificate, certificate).expect("a file");
        fs::write(&files.key, key).expect("a file");
        files
    }

    /// Has a listener demand certificates of this authority, whose own goes into a folder as `ca.pem`.
    pub(crate) fn demand(&self, folder: &Path, files: &mut ServerFiles) {
        let path = folder.join("ca.pem");
        fs::write(&path, self.pem()).expect("a file");
        files.client_ca = Some(path);
        files.client_certificate = ClientCertificate::Required;
    }
}
