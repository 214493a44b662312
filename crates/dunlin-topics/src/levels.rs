//! Topic levels as byte ranges, and the one routine that compares a (part of a) Topic Filter with
//! a Topic Name level by level.
//!
//! A place in a Topic Name is the offset where its next level starts; one past the length means
//! that no level is left. (`"a/"` has two levels: at 2, its length, the empty second one starts.)

/// The end of the level that starts at `start`: the offset of the next `/`, or the length.
#[inline]
pub(crate) fn level_end(text: &[u8], start: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = start;
    // Eight bytes at a time: a byte that was `/` becomes zero, and the lowest zero byte is the
    // lowest whose high bit comes out set.
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'/'));
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    text[at..].iter().position(|byte| *byte == b'/').map_or(text.len(), |length| at + length)
}

#[inline]
pub(crate) fn first_level(text: &[u8]) -> &[u8] {
    &text[..level_end(text, 0)]
}

/// What of a Topic Filter takes part in matching, and whether any level is a wildcard. Nothing
/// may follow `#` [MQTT-4.7.1-1]; should something, it is as if it were not there.
pub(crate) fn effective(topic_filter: &str) -> (&str, bool) {
    let bytes = topic_filter.as_bytes();
    let mut wildcard = false;
    let mut start = 0;
    while start <= bytes.len() {
        let end = level_end(bytes, start);
        match &bytes[start..end] {
            b"#" => return (&topic_filter[..end], true),
            b"+" => wildcard = true,
            _ => {}
        }
        start = end + 1;
    }
    (topic_filter, wildcard)
}

/// Whether the rule for `$` keeps filters that begin with a wildcard away from this Topic Name
/// [MQTT-4.7.2-1].
#[inline]
pub(crate) fn hides_from_wildcards(topic_name: &[u8]) -> bool {
    topic_name.first() == Some(&b'$')
}

pub(crate) enum Fit {
    /// Some level differs, or the name has too few of them.
    No,
    /// All levels fit; the name goes on at this place.
    Upto(usize),
    /// The levels fit and end with `#`: whatever the name has left matches.
    Rest,
}

/// Compares the levels of `pattern` with those of `topic_name` from the place `at`. Knows nothing
/// of `$`.
#[inline]
pub(crate) fn fit(pattern: &[u8], topic_name: &[u8], mut at: usize) -> Fit {
    let mut start = 0;
    loop {
        let end = level_end(pattern, start);
        let level = &pattern[start..end];
        if level == b"#" {
            return Fit::Rest;
        }
        let Some(rest) = topic_name.get(at..) else { return Fit::No };
        let length = if level == b"+" {
            level_end(rest, 0)
        } else {
            if !rest.starts_with(level) || rest.get(level.len()).is_some_and(|byte| *byte != b'/') {
                return Fit::No;
            }
            level.len()
        };
        at += length + 1;
        if end == pattern.len() {
            return Fit::Upto(at);
        }
        start = end + 1;
    }
}

/// The length of the longest run of whole levels that two filters begin with. Their first levels
/// must be equal.
pub(crate) fn common_levels(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let is_end = |text: &[u8]| text.get(same).is_none_or(|byte| *byte == b'/');
    if is_end(one) && is_end(other) {
        return same;
    }
    one[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

/// Whether `topic_name` matches `topic_filter`, by the rules of §4.7, in one pass and without
/// allocation. Gives the same answer as [`reference::matches`](crate::reference::matches).
///
/// ```
/// use dunlin_topics::topic_matches;
///
/// assert!(topic_matches("sport/+/player1", "sport/tennis/player1"));
/// assert!(topic_matches("sport/#", "sport"));
/// assert!(!topic_matches("#", "$SYS/broker/uptime"));
/// ```
#[must_use]
pub fn topic_matches(topic_filter: &str, topic_name: &str) -> bool {
    let (filter, name) = (topic_filter.as_bytes(), topic_name.as_bytes());
    if hides_from_wildcards(name) && matches!(first_level(filter), b"+" | b"#") {
        return false;
    }
    match fit(filter, name, 0) {
        Fit::No => false,
        Fit::Upto(at) => at > name.len(),
        Fit::Rest => true,
    }
}
