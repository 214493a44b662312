//! Certificates as devices have them, and as somebody makes them who wants to be another.

use super::CertificateField::{CommonName, Dns, Email, Subject, Uri};
use super::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

fn certificate(names: &[(DnType, DnValue)], alternatives: Vec<SanType>) -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    for (kind, value) in names {
        subject.push(kind.clone(), value.clone());
    }
    parameters.distinguished_name = subject;
    parameters.subject_alt_names = alternatives;
    let key = KeyPair::generate().expect("a key");
    parameters.self_signed(&key).expect("a certificate").der().to_vec()
}

fn text(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

fn ia5(text: &str) -> rcgen::string::Ia5String {
    text.try_into().expect("ASCII")
}

fn user(field: CertificateField, certificate: &[u8]) -> Result<String, CertificateError> {
    field.user(certificate).map(|user| user.as_str().to_owned())
}

#[test]
fn each_field() {
    let alternatives = vec![
        SanType::DnsName(ia5("gauge.example")),
        SanType::URI(ia5("spiffe://works/gauge")),
        SanType::Rfc822Name(ia5("gauge@example")),
    ];
    let names = [
        (DnType::CountryName, DnValue::PrintableString("IS".try_into().expect("printable"))),
        (DnType::OrganizationName, text("Works, Ltd")),
        (DnType::CommonName, text("gauge")),
    ];
    let certificate = certificate(&names, alternatives);
    for (name, expected) in [
        ("cn", "gauge"),
        ("dns", "gauge.example"),
        ("uri", "spiffe://works/gauge"),
        ("email", "gauge@example"),
        ("subject", "CN=gauge,O=Works\\, Ltd,C=IS"),
    ] {
        let field: CertificateField = name.parse().expect("a field");
        assert_eq!(user(field, &certificate).as_deref(), Ok(expected));
    }
    assert_eq!("CN".parse::<CertificateField>(), Err(UnknownField));
}

#[test]
fn none_several_and_illegal_ones() {
    let empty = certificate(&[], Vec::new());
    for field in [CommonName, Dns, Uri, Email, Subject] {
        assert_eq!(user(field, &empty), Err(CertificateError::None), "{field:?}");
    }
    let two = certificate(
        &[],
        vec![SanType::DnsName(ia5("a.example")), SanType::DnsName(ia5("b.example"))],
    );
    assert_eq!(user(Dns, &two), Err(CertificateError::Several));
    let common_name =
        |value: DnValue| user(CommonName, &certificate(&[(DnType::CommonName, value)], vec![]));
    let control = Err(CertificateError::UserName(InvalidUserName::ControlCharacter));
    assert_eq!(common_name(text("root\0.example")), control);
    assert_eq!(common_name(text("a\nb")), control);
    assert_eq!(common_name(text("")), Err(CertificateError::UserName(InvalidUserName::Empty)));
    let long = Err(CertificateError::UserName(InvalidUserName::TooLong));
    assert_eq!(common_name(text(&"a".repeat(257))), long);
    let bmp = DnValue::BmpString("gauge".try_into().expect("in the plane"));
    assert_eq!(common_name(bmp), Err(CertificateError::Encoding));
    let nul = certificate(&[], vec![SanType::DnsName(ia5("root\0.example"))]);
    assert_eq!(user(Dns, &nul), control);
}

/// rcgen keeps one of each kind, so the second Common Name takes the place of another attribute
/// of the same length.
#[test]
fn two_common_names_are_refused() {
    let names = [(DnType::OrganizationName, text("root")), (DnType::CommonName, text("gauge"))];
    let mut certificate = certificate(&names, Vec::new());
    let organization = [0x06, 0x03, 0x55, 0x04, 0x0a];
    let mut replaced = 0;
    for at in 0..certificate.len() - organization.len() {
        if certificate[at..].starts_with(&organization) {
            certificate[at + 4] = 3;
            replaced += 1;
        }
    }
    assert_eq!(replaced, 2, "issuer and subject");
    assert_eq!(user(CommonName, &certificate), Err(CertificateError::Several));
    assert_eq!(user(Subject, &certificate).as_deref(), Ok("CN=gauge,CN=root"));
}

#[test]
fn subjects_cannot_be_made_to_look_like_others() {
    let subject = |names: &[(DnType, DnValue)]| user(Subject, &certificate(names, Vec::new()));
    let honest =
        subject(&[(DnType::OrganizationName, text("Works")), (DnType::CommonName, text("root"))]);
    let forged = subject(&[(DnType::CommonName, text("root,O=Works"))]);
    assert_eq!(honest.as_deref(), Ok("CN=root,O=Works"));
    assert_eq!(forged.as_deref(), Ok("CN=root\\,O\\=Works"));
    let odd = subject(&[(DnType::CommonName, text(" #a+b\\ "))]);
    assert_eq!(odd.as_deref(), Ok("CN=\\ #a\\+b\\\\\\ "));
    let number = subject(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), text("#x"))]);
    assert_eq!(number.as_deref(), Ok("1.2.3.4=\\#x"));
}

#[test]
fn bytes_that_are_no_certificate() {
    let good = certificate(&[(DnType::CommonName, text("gauge"))], Vec::new());
    assert_eq!(user(CommonName, &good).as_deref(), Ok("gauge"));
    for len in 0..good.len() {
        assert_eq!(user(CommonName, &good[..len]), Err(CertificateError::Damaged), "{len} bytes");
    }
    let more = [&good[..], &[0]].concat();
    assert_eq!(user(CommonName, &more), Err(CertificateError::Damaged));
}
