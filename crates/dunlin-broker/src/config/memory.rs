//! How much memory the broker may have.

use super::setting::{Kind, Limit, Setting};

/// How much memory the broker may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that the process may have in memory before it reads less, lets nobody new in, and
    /// refuses messages; 0 for no such limit.
    pub max: usize,
}

const MAX: Kind = Kind::Bytes { min: 0, max: 1 << 50 };

impl Memory {
    pub(super) const SETTINGS: &'static [Setting] = &[Setting {
        key: "memory.max",
        doc: &[
            "Bytes that the process may have in memory; 0 is any number. Before that is reached it \
             reads clients that publish more slowly, then refuses clients without a session, then \
             messages (0x97 in MQTT 5.0; those of MQTT 3 wait, those of QoS 0 are dropped and \
             counted) and new subscriptions. Acknowledgements are always taken, and nothing is \
             given up that was acknowledged. Give it at least 64 MiB, with a data folder 128 MiB.",
        ],
        kind: MAX,
        example: None,
        automatic: None,
        read: |config| Some(config.memory.max.to_value(MAX)),
        write: |config, value| {
            if let Some(max) = Limit::from_value(&value) {
                config.memory.max = max;
            }
        },
    }];
}
