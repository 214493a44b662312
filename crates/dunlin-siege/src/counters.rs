//! What the broker says of itself under `$SYS`: which limits have held, and what was dropped.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use dunlin_bench::frame;

use crate::broker;

/// Where the counters are.
const TOPIC_FILTERS: [&str; 2] = ["$SYS/broker/limits/#", "$SYS/broker/dropped/#"];

/// What all their names begin with.
const PREFIX: &str = "$SYS/broker/";

/// Retained messages come one after the other; after so long there is none left.
const SILENCE: Duration = Duration::from_millis(400);

/// Counters by their names below `$SYS/broker/`.
pub(crate) type Counters = BTreeMap<String, u64>;

/// Reads all that are there.
///
/// # Errors
/// When the broker does not take the client.
pub(crate) fn read(address: SocketAddr) -> Result<Counters> {
    let mut stream = broker::connect(address, "siege-counters")?;
    let mut bytes = Vec::new();
    for (identifier, topic_filter) in (1..).zip(TOPIC_FILTERS) {
        frame::push_subscribe(&mut bytes, identifier, topic_filter, 0);
    }
    stream.write_all(&bytes)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let (mut input, mut room) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(len) => input.extend_from_slice(&room[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => return Err(error).context("reading counters"),
        }
    }
    stream.write_all(&[frame::DISCONNECT, 0])?;
    let mut counters = Counters::new();
    let mut rest = &input[..];
    while let Some(frame) = frame::split_frame(rest)? {
        rest = &rest[frame.len..];
        if frame.is_publish()
            && let Some((name, value)) = counter(frame.body)
        {
            counters.insert(name, value);
        }
    }
    Ok(counters)
}

/// Name and value of a message of QoS 0.
fn counter(body: &[u8]) -> Option<(String, u64)> {
    let (len, rest) = body.split_first_chunk()?;
    let (topic_name, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let name = std::str::from_utf8(topic_name).ok()?.strip_prefix(PREFIX)?;
    Some((name.to_owned(), std::str::from_utf8(payload).ok()?.parse().ok()?))
}

/// Those that have grown, and by how much.
pub(crate) fn moved(before: &Counters, after: &Counters) -> Counters {
    let grown = |(name, value): (&String, &u64)| {
        let growth = value.saturating_sub(before.get(name).copied().unwrap_or(0));
        (growth > 0).then(|| (name.clone(), growth))
    };
    after.iter().filter_map(grown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_grown_has_moved() {
        let counters = |values: &[(&str, u64)]| {
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Counters>()
        };
        let before = counters(&[("limits/a", 3), ("limits/b", 5)]);
        let after = counters(&[("limits/a", 7), ("limits/b", 5), ("limits/c", 1)]);
        assert_eq!(moved(&before, &after), counters(&[("limits/a", 4), ("limits/c", 1)]));
    }

    #[test]
    fn counters_are_numbers_below_the_brokers_name() {
        let body = |topic_name: &str, payload: &str| {
            let mut body = Vec::new();
            frame::push_string(&mut body, topic_name.as_bytes());
            body.extend_from_slice(payload.as_bytes());
            counter(&body)
        };
        let found = body("$SYS/broker/limits/sessions_max", "12");
        assert_eq!(found, Some(("limits/sessions_max".to_owned(), 12)));
        assert_eq!(body("$SYS/broker/version", "dunlin"), None);
        assert_eq!(body("limits/sessions_max", "12"), None);
    }
}
