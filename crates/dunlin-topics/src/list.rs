//! What hangs on one Topic Filter: its subscribers and its Shared Subscription groups. A single
//! subscriber, by far the most common case, is held in place.

use crate::members::Members;
use crate::shared::GroupId;
use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone)]
pub(crate) enum List<K, V> {
    Empty,
    One(K, V),
    Many(Box<Many<K, V>>),
}

#[derive(Clone)]
pub(crate) struct Many<K, V> {
    pub(crate) subscribers: Members<K, V>,
    /// Ascending.
    pub(crate) groups: Vec<GroupId>,
}

impl<K: Copy + Ord, V> List<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        match self {
            Self::One(only, value) if *only == key => Some(value),
            Self::Many(many) => many.subscribers.get(key),
            _ => None,
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::Empty => {
                *self = Self::One(key, value);
                None
            }
            Self::One(only, old) if *only == key => Some(core::mem::replace(old, value)),
            _ => self.many().subscribers.insert(key, value),
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::One(only, _) if *only == key => match core::mem::replace(self, Self::Empty) {
                Self::One(_, value) => Some(value),
                _ => None,
            },
            Self::Many(many) => {
                let value = many.subscribers.remove(key)?;
                self.settle();
                Some(value)
            }
            _ => None,
        }
    }

    pub(crate) fn insert_group(&mut self, group: GroupId) {
        let groups = &mut self.many().groups;
        if let Err(at) = groups.binary_search(&group) {
            groups.insert(at, group);
        }
    }

    pub(crate) fn remove_group(&mut self, group: GroupId) {
        if let Self::Many(many) = self
            && let Ok(at) = many.groups.binary_search(&group)
        {
            many.groups.remove(at);
            if many.groups.len() * 4 < many.groups.capacity() {
                many.groups.shrink_to(many.groups.len() * 2);
            }
            self.settle();
        }
    }

    fn many(&mut self) -> &mut Many<K, V> {
        if !matches!(self, Self::Many(_)) {
            let mut subscribers = Members::new();
            if let Self::One(key, value) = core::mem::replace(self, Self::Empty) {
                subscribers.insert(key, value);
            }
            *self = Self::Many(Box::new(Many { subscribers, groups: Vec::new() }));
        }
        match self {
            Self::Many(many) => many,
            _ => unreachable!("made so just above"),
        }
    }

    /// Goes back to the smallest form that holds what is left.
    fn settle(&mut self) {
        let Self::Many(many) = self else { return };
        if !many.groups.is_empty() {
            return;
        }
        if many.subscribers.len() == 0 {
            *self = Self::Empty;
        } else if let Some((key, value)) = many.subscribers.pop_only() {
            *self = Self::One(key, value);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Many(many) => {
                let groups = many.groups.capacity() * size_of::<GroupId>();
                size_of::<Many<K, V>>() + many.subscribers.bytes() + groups
            }
            _ => 0,
        }
    }
}
