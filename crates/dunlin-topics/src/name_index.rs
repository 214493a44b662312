//! Topic Names in an order in which every subtree is one run, so that a Topic Filter is answered
//! by walking runs and jumping over the rest: for retained messages.

mod order;
mod scan;

use crate::text::Text;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::{Entry, Range, VacantEntry};
use core::ops::Bound;
use order::{Bytes, Name};
use scan::{Scan, Step};

/// How many names that can't match are passed one by one before a jump over the rest: a jump
/// costs as much as some steps, and most subtrees are small.
const PATIENCE: u32 = 4;

/// The index of Topic Names that Topic Filters search, the inverse of
/// [`FilterIndex`](crate::FilterIndex). Each name has one value: the retained message.
///
/// Names stand in the order of their levels: a name comes before its child levels, which come
/// before its next sibling; levels compare by their bytes. This order does not depend on what else
/// is in the index, so a search resumes after any name, even one that is gone.
///
/// All Topic Names and Topic Filters passed in are valid ones, as `dunlin_codec::TopicName` and
/// `TopicFilter` guarantee. Others never panic, and behave like
/// [`reference::matches`](crate::reference::matches).
#[derive(Clone)]
pub struct NameIndex<V> {
    names: BTreeMap<Name, V>,
    names_bytes: usize,
}

/// Where a search stops at the latest; see [`NameIndex::matches_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// After this many matches; zero counts as one.
    pub matches: usize,
    /// After looking at this many names, whether they matched or not; zero counts as one. This
    /// bounds the time of one page where few names match.
    pub steps: usize,
}

/// How a page ended; see [`NameIndex::matches_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Page<'a> {
    /// There is no further match.
    Complete,
    /// The limit was reached; go on after this Topic Name, which was the last one looked at.
    After(&'a str),
}

/// What is at a Topic Name; see [`NameIndex::place`].
pub enum Place<'a, V> {
    /// Its value, to be changed in place.
    Taken(&'a mut V),
    /// Nothing.
    Free(FreePlace<'a, V>),
}

/// The place of a Topic Name that has no value.
pub struct FreePlace<'a, V> {
    free: VacantEntry<'a, Name, V>,
    bytes: &'a mut usize,
}

impl<V> FreePlace<'_, V> {
    /// Gives the Topic Name a value.
    pub fn insert(self, value: V) {
        *self.bytes += self.free.key().0.heap_bytes();
        self.free.insert(value);
    }
}

impl<V> NameIndex<V> {
    /// An empty index.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: BTreeMap::new(), names_bytes: 0 }
    }

    /// The number of Topic Names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no Topic Name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The bytes that names and values take, about; of values only their own size counts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // The tree's nodes are between half full and full.
        self.names.len() * (size_of::<Name>() + size_of::<V>()) * 3 / 2 + self.names_bytes
    }

    /// Sets the value of a Topic Name and gives its earlier one back.
    pub fn insert(&mut self, topic_name: &str, value: V) -> Option<V> {
        match self.place(topic_name) {
            Place::Taken(old) => Some(core::mem::replace(old, value)),
            Place::Free(free) => {
                free.insert(value);
                None
            }
        }
    }

    /// The place of a Topic Name, for whoever decides by its present value what to set: the name is
    /// looked for once.
    pub fn place(&mut self, topic_name: &str) -> Place<'_, V> {
        match self.names.entry(Name(Text::new(topic_name))) {
            Entry::Occupied(taken) => Place::Taken(taken.into_mut()),
            Entry::Vacant(free) => Place::Free(FreePlace { free, bytes: &mut self.names_bytes }),
        }
    }

    /// Removes a Topic Name and gives its value back.
    pub fn remove(&mut self, topic_name: &str) -> Option<V> {
        let (name, value) = self.names.remove_entry(&topic_name.as_bytes() as &dyn Bytes)?;
        self.names_bytes -= name.0.heap_bytes();
        Some(value)
    }

    /// The value of a Topic Name.
    #[must_use]
    pub fn get(&self, topic_name: &str) -> Option<&V> {
        self.names.get(&topic_name.as_bytes() as &dyn Bytes)
    }

    /// The value of a Topic Name, to be changed in place.
    pub fn get_mut(&mut self, topic_name: &str) -> Option<&mut V> {
        self.names.get_mut(&topic_name.as_bytes() as &dyn Bytes)
    }

    /// All Topic Names with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.names.iter().map(|(name, value)| (name.0.as_str(), value))
    }

    /// Calls `f` with each Topic Name that matches `topic_filter`, by all rules of §4.7, in order.
    pub fn for_each_match<'a>(&'a self, topic_filter: &str, f: impl FnMut(&'a str, &'a V)) {
        let limit = PageLimit { matches: usize::MAX, steps: usize::MAX };
        let _ = self.matches_after(topic_filter, None, limit, f);
    }

    /// Calls `f` with the next Topic Names in order that match `topic_filter`, from the first one
    /// or strictly after the name `after`, until `limit` is reached.
    ///
    /// The cost is that of the names looked at: what can't match is jumped over, a whole subtree
    /// at a time. Between pages the index may change: names that were there all the time come
    /// exactly once.
    ///
    /// ```
    /// use dunlin_topics::{NameIndex, Page, PageLimit};
    ///
    /// let mut retained = NameIndex::new();
    /// for name in ["hall/door", "hall/lamp", "roof/lamp"] {
    ///     retained.insert(name, "on");
    /// }
    /// let limit = PageLimit { matches: 1, steps: 100 };
    /// let mut first = Vec::new();
    /// let page = retained.matches_after("+/lamp", None, limit, |name, _| first.push(name));
    /// assert_eq!(first, ["hall/lamp"]);
    /// assert_eq!(page, Page::After("hall/lamp"));
    /// ```
    pub fn matches_after<'a>(
        &'a self,
        topic_filter: &str,
        after: Option<&str>,
        limit: PageLimit,
        mut f: impl FnMut(&'a str, &'a V),
    ) -> Page<'a> {
        let mut scan = Scan::new(topic_filter);
        let start = scan.start();
        let after = after.map(str::as_bytes).filter(|after| order::compare(after, start).is_ge());
        let mut names = self.names_from(after.map_or(Bound::Included(start), Bound::Excluded));
        // At least one of each, so that a page always gets on.
        let (mut matches, mut steps) = (limit.matches.max(1), limit.steps.max(1));
        let mut patience = PATIENCE;
        let mut last = "";
        while let Some((name, value)) = names.next() {
            let step = scan.step(name.0.as_bytes());
            if matches!(step, Step::End) {
                break;
            }
            if matches == 0 || steps == 0 {
                return Page::After(last);
            }
            steps -= 1;
            last = name.0.as_str();
            match step {
                Step::Match => {
                    matches -= 1;
                    f(last, value);
                    patience = PATIENCE;
                }
                Step::Jump(jump) if patience == 0 => {
                    let target = scan.target(name.0.as_bytes(), jump);
                    names = self.names_from(Bound::Included(target));
                    patience = PATIENCE;
                }
                Step::Jump(_) => patience -= 1,
                Step::Next | Step::End => {}
            }
        }
        Page::Complete
    }

    fn names_from(&self, start: Bound<&[u8]>) -> Range<'_, Name, V> {
        match start {
            Bound::Included(start) => {
                let start: &dyn Bytes = &start;
                self.names.range::<dyn Bytes, _>((Bound::Included(start), Bound::Unbounded))
            }
            Bound::Excluded(start) => {
                let start: &dyn Bytes = &start;
                self.names.range::<dyn Bytes, _>((Bound::Excluded(start), Bound::Unbounded))
            }
            Bound::Unbounded => self.names.range::<dyn Bytes, _>(..),
        }
    }
}

impl<V> Default for NameIndex<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> core::fmt::Debug for NameIndex<V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NameIndex").field("len", &self.len()).finish_non_exhaustive()
    }
}
