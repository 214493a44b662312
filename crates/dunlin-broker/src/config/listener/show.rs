//! Shows a listener as its URL.

use super::Listener;
use crate::config::{Endpoint, Network, SocketFile, WebSocketListener};
use dunlin_identity::certificate::CertificateField;
use dunlin_transport::tls::CertificateFiles;
use std::fmt;
use std::path::PathBuf;

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())?;
        let mut options = Vec::new();
        let default = |file: &SocketFile| SocketFile::new(&file.path).mode == file.mode;
        let mode = match &self.endpoint {
            Endpoint::Socket(file) if !default(file) => Some(format!("{:04o}", file.mode)),
            _ => None,
        };
        if let Some(files) = &self.tls {
            let of_each = |first: &PathBuf, further: fn(&CertificateFiles) -> &PathBuf| {
                let all = std::iter::once(first).chain(files.further.iter().map(further));
                let all: Vec<_> = all.map(|path| encode(&path.to_string_lossy())).collect();
                all.join("|")
            };
            options.push(("certificate", of_each(&files.certificate, |files| &files.certificate)));
            options.push(("key", of_each(&files.key, |files| &files.key)));
            let mut path = |name, path: &PathBuf| {
                options.push((name, encode(&path.to_string_lossy())));
            };
            if let Some(client_ca) = &files.client_ca {
                path("client_ca", client_ca);
            }
            if let Some(client_crl) = &files.client_crl {
                path("client_crl", client_crl);
            }
            if files.client_ca.is_some() {
                let choice = files.client_certificate.name().to_owned();
                options.push(("client_certificate", choice));
            }
            if files.accepts_old_crl {
                options.push(("old_crl", "accept".to_owned()));
            }
            if self.certificate_user != CertificateField::default() {
                options.push(("certificate_user", self.certificate_user.name().to_owned()));
            }
        }
        if let Some(WebSocketListener { origins, .. }) = &self.web_socket
            && !origins.is_empty()
        {
            options.push(("origins", encode(&origins.join("|"))));
        }
        options.extend(mode.map(|mode| ("mode", mode)));
        if !self.proxy_from.is_empty() {
            let networks: Vec<_> = self.proxy_from.iter().map(Network::to_string).collect();
            options.push(("proxy_from", networks.join("|")));
        }
        if let Some(durability) = self.durability {
            options.push(("durability", durability.name().to_owned()));
        }
        for (nth, (name, value)) in options.iter().enumerate() {
            write!(f, "{}{name}={value}", if nth == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// What would end a value, or the URL, within a value.
const RESERVED: [char; 6] = ['%', '&', ',', '#', '"', '\\'];

pub(in crate::config) fn encode(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            c if RESERVED.contains(&c) || c.is_ascii_control() => {
                text.push_str(&format!("%{:02X}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}
