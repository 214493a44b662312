//! Subscribers of one Topic Filter, or members of one group, in key order: a sorted vector while
//! there are few, a tree when shifting a vector would cost too much.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::ops::Bound;

/// Above this many the vector becomes a tree,
const SORTED_MAX: usize = 256;
/// and at this few the tree a vector again; apart, so that a change to and fro costs little.
const TREE_MIN: usize = 64;

#[derive(Clone)]
pub(crate) enum Members<K, V> {
    Sorted(Vec<(K, V)>),
    Tree(BTreeMap<K, V>),
}

impl<K: Copy + Ord, V> Members<K, V> {
    pub(crate) const fn new() -> Self {
        Self::Sorted(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Sorted(sorted) => sorted.len(),
            Self::Tree(tree) => tree.len(),
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        match self {
            Self::Sorted(sorted) => {
                let at = sorted.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                Some(&sorted[at].1)
            }
            Self::Tree(tree) => tree.get(&key),
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let sorted = match self {
            Self::Sorted(sorted) => sorted,
            Self::Tree(tree) => return tree.insert(key, value),
        };
        match sorted.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => return Some(core::mem::replace(&mut sorted[at].1, value)),
            Err(at) => sorted.insert(at, (key, value)),
        }
        if sorted.len() > SORTED_MAX {
            *self = Self::Tree(core::mem::take(sorted).into_iter().collect());
        }
        None
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::Sorted(sorted) => {
                let at = sorted.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                let (_, value) = sorted.remove(at);
                if sorted.len() * 4 < sorted.capacity() {
                    sorted.shrink_to(sorted.len() * 2);
                }
                Some(value)
            }
            Self::Tree(tree) => {
                let value = tree.remove(&key)?;
                if tree.len() <= TREE_MIN {
                    *self = Self::Sorted(core::mem::take(tree).into_iter().collect());
                }
                Some(value)
            }
        }
    }

    /// Takes the only member out.
    pub(crate) fn pop_only(&mut self) -> Option<(K, V)> {
        match self {
            Self::Sorted(sorted) if sorted.len() == 1 => sorted.pop(),
            _ => None,
        }
    }

    pub(crate) fn iter(&self) -> MembersIter<'_, K, V> {
        MembersIter(match self {
            Self::Sorted(sorted) => Inner::Sorted(sorted.iter()),
            Self::Tree(tree) => Inner::Tree(tree.iter()),
        })
    }

    /// All members, those that follow `key` first.
    pub(crate) fn iter_after(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        match self {
            Self::Sorted(sorted) => {
                let at = sorted.partition_point(|(other, _)| *other <= key);
                let (first, following) = (sorted[..at].iter(), sorted[at..].iter());
                Round::Sorted(following.chain(first))
            }
            Self::Tree(tree) => {
                let following = tree.range((Bound::Excluded(key), Bound::Unbounded));
                Round::Tree(following.chain(tree.range(..=key)))
            }
        }
    }

    /// The member with the highest key.
    #[inline]
    pub(crate) fn last(&self) -> Option<(&K, &V)> {
        match self {
            Self::Sorted(sorted) => sorted.last().map(|(key, value)| (key, value)),
            Self::Tree(tree) => tree.last_key_value(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sorted(sorted) => sorted.capacity() * size_of::<(K, V)>(),
            // A tree's nodes are between half full and full.
            Self::Tree(tree) => tree.len() * (size_of::<K>() + size_of::<V>()) * 3 / 2,
        }
    }
}

/// The members of a group with their values, in key order; see
/// [`Group::members`](crate::Group::members).
#[derive(Clone, Debug)]
pub struct MembersIter<'a, K, V>(Inner<'a, K, V>);

#[derive(Clone, Debug)]
enum Inner<'a, K, V> {
    Sorted(core::slice::Iter<'a, (K, V)>),
    Tree(btree_map::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for MembersIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Sorted(sorted) => sorted.next().map(|(key, value)| (key, value)),
            Inner::Tree(tree) => tree.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Sorted(sorted) => sorted.size_hint(),
            Inner::Tree(tree) => tree.size_hint(),
        }
    }
}

impl<K, V> ExactSizeIterator for MembersIter<'_, K, V> {}

/// The members once round, from somewhere in their middle.
enum Round<S, T> {
    Sorted(S),
    Tree(T),
}

impl<'a, K: 'a, V: 'a, S, T> Iterator for Round<S, T>
where
    S: Iterator<Item = &'a (K, V)>,
    T: Iterator<Item = (&'a K, &'a V)>,
{
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Sorted(sorted) => sorted.next().map(|(key, value)| (key, value)),
            Self::Tree(tree) => tree.next(),
        }
    }
}
