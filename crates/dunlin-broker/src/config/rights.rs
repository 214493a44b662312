//! What Clients may do.

use super::setting::{Kind, Setting, Value};
use std::path::PathBuf;

/// What Clients may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// A file of rules. Unset, whoever is let in may publish and subscribe to everything.
    pub file: Option<PathBuf>,
}

impl Rights {
    pub(super) const SETTINGS: &'static [Setting] = &[Setting {
        key: "rights.file",
        doc: &[
            "A file of rules that say who may publish and subscribe to what; docs/rights.md explains \
             them, `dunlin acl explain` says which one decides. It is read again on SIGHUP, and \
             counts for open connections at once; one that may be half-written changes nothing then, \
             and a last line `# end` says that it is whole. Unset, whoever is let in may do everything.",
        ],
        kind: Kind::File,
        example: Some("\"/etc/dunlin/rules.toml\""),
        automatic: None,
        read: |config| Some(Value::Text(config.rights.file.as_ref()?.display().to_string())),
        write: |config, value| {
            if let Value::Text(path) = value {
                config.rights.file = Some(path.into());
            }
        },
    }];
}
