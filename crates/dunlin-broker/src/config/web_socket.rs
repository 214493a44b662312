//! What a listener for WebSocket takes: its paths, and the web pages that may connect.

use super::ListenerError;
use dunlin_transport::websocket::upgrade::{Origins, Policy};

/// Which requests a listener for WebSocket grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketListener {
    /// The one path of its URL that is served; without it these are `/mqtt`, which most clients ask
    /// for by themselves, and `/`.
    pub path: Option<String>,
    /// The web pages that may connect, as `https://example.org` or `http://localhost:3000`; `*`
    /// stands for all. Pages of this machine may always connect to a listener that only it can
    /// reach, and who is no browser isn't asked.
    pub origins: Vec<String>,
}

impl WebSocketListener {
    pub(super) fn set_path(&mut self, path: &str) -> Result<(), ListenerError> {
        // A URL in a list ends with a comma, and a path with what begins a query.
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | ',' | '"' | '\\');
        if !path.starts_with('/') || !path.chars().all(is_plain) {
            return Err(ListenerError::Path(path.to_owned()));
        }
        self.path = Some(path.to_owned());
        Ok(())
    }

    /// Takes origins with spaces or `|` between them.
    pub(super) fn set_origins(&mut self, origins: &str) -> Result<(), ListenerError> {
        let origins = origins.split([' ', '|']).filter(|origin| !origin.is_empty());
        self.origins = origins.map(str::to_owned).collect();
        match Origins::new(&self.origins) {
            Ok(_) => Ok(()),
            Err(error) => Err(ListenerError::Origin(error.0)),
        }
    }

    /// What the upgrade is judged by, where only this machine gets or where others do, too. An origin
    /// that is none lets nobody in.
    pub(crate) fn policy(&self, is_local: bool) -> Policy {
        let paths = match &self.path {
            Some(path) => vec![path.clone()],
            None => Policy::default().paths,
        };
        let origins = Origins::new(&self.origins).unwrap_or_default();
        Policy { paths, origins: origins.with_loopback(is_local) }
    }
}
