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

/// A broker needs more than this for itself: less is a number without its unit.
const LEAST: usize = 16 << 20;

impl Memory {
    /// What is wrong with it, and the mend.
    pub(super) fn mistake(&self) -> Option<String> {
        if self.max == 0 || self.max >= LEAST {
            return None;
        }
        let max = self.max;
        let meant = match max {
            1..=64 => format!("{max}GiB"),
            65..=65_536 => format!("{max}MiB"),
            _ => "256MiB".to_owned(),
        };
        Some(format!(
            "{max} bytes are less than a broker needs for itself, and nobody could connect; write it \
             with a unit, such as \"{meant}\", and give it \"64MiB\" or more, with a data folder \
             \"128MiB\"; or 0 for any amount"
        ))
    }

    pub(super) const SETTINGS: &'static [Setting] = &[Setting {
        key: "memory.max",
        doc: &[
            "Bytes that the process may have in memory; 0 is any number. Before that is reached it \
             reads clients that publish more slowly, then refuses clients without a session, then \
             messages (0x97 in MQTT 5.0; those of MQTT 3 wait, those of QoS 0 are dropped and \
             counted) and new subscriptions. Acknowledgements are always taken, and nothing is \
             given up that was acknowledged. Give it at least 64 MiB, with a data folder 128 MiB; less than \
             16 MiB is refused.",
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
