//! The naive matcher, written along the words of the standard. It defines the truth for the
//! indexes of this crate, and serves clients that hold a handful of filters.

/// Whether `topic_name` matches `topic_filter`.
///
/// Both are taken as valid, as codec's `TopicFilter` and `TopicName` types guarantee. A Topic
/// Filter here is the one without `$share/{ShareName}/`.
///
/// Spec: §4.7. In its words:
/// - `/` separates the levels; adjacent separators make a level of zero length, and a separator
///   at the start or end makes one there, so `/finance` matches `+/+` and `/+` but not `+`;
/// - `#` matches its parent and any number of child levels [MQTT-4.7.1-1];
/// - `+` matches exactly one level, also an empty one [MQTT-4.7.1-2];
/// - a filter that begins with a wildcard does not match a name that begins with `$`
///   [MQTT-4.7.2-1];
/// - everything else compares byte by byte, case included [MQTT-4.7.3-4].
///
/// ```
/// use dunlin_topics::reference::matches;
///
/// assert!(matches("+/+", "/finance"));
/// assert!(!matches("+", "/finance"));
/// ```
#[must_use]
pub fn matches(topic_filter: &str, topic_name: &str) -> bool {
    let mut filter_levels = topic_filter.split('/');
    let mut name_levels = topic_name.split('/');
    let mut is_first_level = true;
    loop {
        let hidden = is_first_level && topic_name.starts_with('$');
        match (filter_levels.next(), name_levels.next()) {
            (Some("#" | "+"), _) if hidden => return false,
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter_level), Some(name_level)) if filter_level == name_level => {}
            (None, None) => return true,
            _ => return false,
        }
        is_first_level = false;
    }
}
