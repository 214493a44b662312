//! A subject as text (RFC 4514), so that different subjects are different texts.

use super::CertificateError;
use x509_parser::x509::X509Name;

/// The attributes that have a short name (RFC 4514 §3); all others are written with their number.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The last part comes first; what stands together in a part is joined by `+`, in its order.
pub(super) fn to_text(name: &X509Name<'_>) -> Result<String, CertificateError> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        let mut separator = ',';
        for attribute in part.iter() {
            if !text.is_empty() {
                text.push(separator);
            }
            separator = '+';
            let number = attribute.attr_type().to_id_string();
            let short = SHORT_NAMES.iter().find(|(of, _)| *of == number).map(|(_, short)| *short);
            text.push_str(short.unwrap_or(&number));
            text.push('=');
            let value = attribute.as_str().map_err(|_| CertificateError::Encoding)?;
            push_escaped(&mut text, value);
        }
    }
    if text.is_empty() { Err(CertificateError::None) } else { Ok(text) }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        let special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            text.push('\\');
        }
        text.push(character);
    }
}
