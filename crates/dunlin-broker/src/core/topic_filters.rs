//! The Topic Filters that a session has subscribed to.

use dunlin_protocol::codec::TopicFilter;
use std::ops::Deref;
use std::slice;

/// The Topic Filters of a session. Most have one, which takes no memory beside the session.
#[derive(Debug)]
pub(super) enum TopicFilters {
    One(TopicFilter),
    /// None, or more than one.
    Others(Vec<TopicFilter>),
}

impl Default for TopicFilters {
    fn default() -> Self {
        Self::Others(Vec::new())
    }
}

impl TopicFilters {
    pub(super) fn push(&mut self, topic_filter: TopicFilter) {
        *self = match std::mem::take(self) {
            Self::One(first) => Self::Others(vec![first, topic_filter]),
            Self::Others(all) if all.is_empty() => Self::One(topic_filter),
            Self::Others(mut all) => {
                all.push(topic_filter);
                Self::Others(all)
            }
        };
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(&TopicFilter) -> bool) {
        match self {
            Self::One(one) if stays(one) => {}
            Self::One(_) => *self = Self::default(),
            Self::Others(all) => {
                all.retain(stays);
                if all.len() < 2 {
                    *self = all.pop().map_or_else(Self::default, Self::One);
                }
            }
        }
    }
}

impl Deref for TopicFilters {
    type Target = [TopicFilter];
    fn deref(&self) -> &[TopicFilter] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Others(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_come_and_go_one_by_one_and_in_bulk() {
        let filter = |number: usize| -> TopicFilter { format!("a/{number}").parse().unwrap() };
        let mut filters = TopicFilters::default();
        let mut expected = Vec::new();
        for number in 0..4 {
            assert_eq!(*filters, *expected);
            filters.push(filter(number));
            expected.push(filter(number));
        }
        for gone in [1, 3, 7, 0, 2] {
            filters.retain(|topic_filter| *topic_filter != filter(gone));
            expected.retain(|topic_filter| *topic_filter != filter(gone));
            assert_eq!(*filters, *expected);
            assert_eq!(matches!(filters, TopicFilters::One(_)), expected.len() == 1);
        }
        filters.push(filter(5));
        filters.push(filter(6));
        filters.retain(|_| false);
        assert!(filters.is_empty());
    }

    #[test]
    fn one_filter_takes_no_more_room_than_itself() {
        assert_eq!(size_of::<TopicFilters>(), size_of::<TopicFilter>());
    }
}
