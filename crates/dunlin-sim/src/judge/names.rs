//! Topic Names and Topic Filters as numbers, and which match: the plain rule, level by level,
//! asked once for each pair.

use hashbrown::HashMap;

/// A Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicId(u32);

/// A Topic Filter: the whole of a Shared Subscription, or the part of it that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FilterId(u32);

#[derive(Debug, Default)]
pub(super) struct Names {
    topics: Interned,
    filters: Interned,
    /// For each filter and Topic Name what is known.
    matches: Vec<Vec<Option<bool>>>,
}

#[derive(Debug, Default)]
struct Interned {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Interned {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }
}

impl Names {
    pub(super) fn topic(&mut self, name: &str) -> TopicId {
        TopicId(self.topics.number(name))
    }

    pub(super) fn filter(&mut self, filter: &str) -> FilterId {
        FilterId(self.filters.number(filter))
    }

    pub(super) fn topic_text(&self, topic: TopicId) -> &str {
        &self.topics.texts[topic.0 as usize]
    }

    pub(super) fn filter_text(&self, filter: FilterId) -> &str {
        &self.filters.texts[filter.0 as usize]
    }

    /// Whether the filter, without a Share Name, selects the Topic Name.
    pub(super) fn matches(&mut self, filter: FilterId, topic: TopicId) -> bool {
        let (row, column) = (filter.0 as usize, topic.0 as usize);
        if self.matches.len() <= row {
            self.matches.resize(row + 1, Vec::new());
        }
        if self.matches[row].len() <= column {
            self.matches[row].resize(column + 1, None);
        }
        let (filters, topics) = (&self.filters, &self.topics);
        *self.matches[row][column]
            .get_or_insert_with(|| matches(&filters.texts[row], &topics.texts[column]))
    }
}

/// Whether a Topic Filter selects a Topic Name. Spec: §4.7.
pub(super) fn matches(filter: &str, topic_name: &str) -> bool {
    if topic_name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic_name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            // `a/#` selects `a` too.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
