//! The user that a client certificate names. Whether the certificate is to be believed (its chain,
//! dates and revocation) is for TLS to check before.

mod distinguished_name;
#[cfg(test)]
mod tests;

use crate::user_name::{InvalidUserName, UserName};
use std::str::FromStr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Which part of a certificate is the user's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateField {
    /// The Common Name of the subject.
    #[default]
    CommonName,
    /// The DNS name among the Subject Alternative Names.
    Dns,
    /// The URI among the Subject Alternative Names, as SPIFFE uses it.
    Uri,
    /// The e-mail address among the Subject Alternative Names.
    Email,
    /// The whole subject as RFC 4514 writes it, `CN=gauge,O=Works`: the last part first.
    Subject,
}

/// A name is none of a [`CertificateField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no part of a certificate: one of cn, dns, uri, email, subject")]
#[non_exhaustive]
pub struct UnknownField;

/// Why a certificate names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are not one certificate in DER.
    #[error("not a certificate, or a damaged one")]
    Damaged,
    /// The field is not there.
    #[error("the certificate has no such name")]
    None,
    /// The field is there more than once: it could be read in two ways.
    #[error("the certificate has several such names")]
    Several,
    /// The field is of a type of strings that is not read, or not well-formed.
    #[error("the name in the certificate is not legal text")]
    Encoding,
    /// The name is none that a user may have.
    #[error(transparent)]
    UserName(#[from] InvalidUserName),
}

impl CertificateField {
    /// What it is called in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommonName => "cn",
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Email => "email",
            Self::Subject => "subject",
        }
    }

    /// The user that the certificate names.
    ///
    /// # Errors
    /// [`CertificateError`] unless there is exactly one name, and a legal one.
    pub fn user(self, certificate: &[u8]) -> Result<UserName, CertificateError> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| CertificateError::Damaged)?;
        if !rest.is_empty() {
            return Err(CertificateError::Damaged);
        }
        let user = match self {
            Self::CommonName => common_name(&certificate)?.to_owned(),
            Self::Subject => distinguished_name::to_text(certificate.subject())?,
            Self::Dns | Self::Uri | Self::Email => self.alternative_name(&certificate)?.to_owned(),
        };
        Ok(UserName::new(&user)?)
    }

    fn alternative_name<'a>(
        self,
        certificate: &'a X509Certificate<'a>,
    ) -> Result<&'a str, CertificateError> {
        // Two extensions of this kind, or one that can't be read, are an error here.
        let names =
            certificate.subject_alternative_name().map_err(|_| CertificateError::Damaged)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
            return Err(CertificateError::Encoding);
        }
        only(names.iter().filter_map(|name| match (self, name) {
            (Self::Dns, GeneralName::DNSName(name))
            | (Self::Uri, GeneralName::URI(name))
            | (Self::Email, GeneralName::RFC822Name(name)) => Some(*name),
            _ => None,
        }))
    }
}

impl FromStr for CertificateField {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cn" => Ok(Self::CommonName),
            "dns" => Ok(Self::Dns),
            "uri" => Ok(Self::Uri),
            "email" => Ok(Self::Email),
            "subject" => Ok(Self::Subject),
            _ => Err(UnknownField),
        }
    }
}

fn common_name<'a>(certificate: &'a X509Certificate<'a>) -> Result<&'a str, CertificateError> {
    let name = only(certificate.subject().iter_common_name())?;
    name.as_str().map_err(|_| CertificateError::Encoding)
}

fn only<T>(mut names: impl Iterator<Item = T>) -> Result<T, CertificateError> {
    let name = names.next().ok_or(CertificateError::None)?;
    if names.next().is_some() { Err(CertificateError::Several) } else { Ok(name) }
}
