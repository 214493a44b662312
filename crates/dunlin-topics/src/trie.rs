//! The Topic Filters that have wildcards: a trie over whole levels, with runs of levels that do
//! not branch joined into one node, so that a filter costs one or two nodes however deep it is.
//!
//! ```text
//! sites/+/door   sites/7/#   sites/7/+/state      root ─ "sites" ┬ plus ──── "+/door"
//!                                                                └ literal ─ "7" ┬ hash ─ "#"
//!                                                                                └ plus ─ "+/state"
//! ```
//! Children that begin with a literal level stand in one hash table for the whole trie, keyed by
//! parent and level. Each trie node lies on one path only, so a match visits it at most once; how
//! much a match costs is bounded by the filters that agree with the name so far, and by its length.

use crate::arena::Arena;
use crate::levels::{Fit, common_levels, first_level, fit, hides_from_wildcards, level_end};
use crate::list::List;
use crate::seed::Seed;
use crate::slots::Slots;
use crate::text::Text;
use alloc::string::String;
use alloc::vec::Vec;

const ROOT: u32 = 0;
/// No child: the root is nobody's child.
const NONE: u32 = ROOT;
/// Branches that may wait on the stack before the match takes a buffer for them.
const WAITING_INLINE: usize = 16;

#[derive(Clone)]
pub(crate) struct Trie<K, V> {
    nodes: Arena<Node<K, V>>,
    literals: Slots,
}

#[derive(Clone)]
struct Node<K, V> {
    /// One or more levels; empty text for the root alone. (Elsewhere it is one empty level.)
    label: Text,
    parent: u32,
    /// The child whose label begins with `+`.
    plus: u32,
    /// The child whose label is `#`.
    hash: u32,
    /// How many children begin with a literal level,
    literals_len: u32,
    /// and their identifiers, combined by exclusive or: with one child it is that child.
    literals_xor: u32,
    list: List<K, V>,
}

impl<K, V> Node<K, V> {
    fn new(label: &str, parent: u32) -> Self {
        Self {
            label: Text::new(label),
            parent,
            plus: NONE,
            hash: NONE,
            literals_len: 0,
            literals_xor: NONE,
            list: List::Empty,
        }
    }
}

impl<K: Copy + Ord, V> Trie<K, V> {
    pub(crate) fn new() -> Self {
        let mut nodes = Arena::new();
        let root = nodes.insert(Node::new("", NONE));
        debug_assert_eq!(root, ROOT);
        Self { nodes, literals: Slots::new() }
    }

    pub(crate) fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let of_node = |node: &Node<K, V>| node.label.heap_bytes() + node.list.heap_bytes();
        let of_nodes: usize = self.nodes.iter().map(of_node).sum();
        self.nodes.bytes() + self.literals.bytes() + of_nodes
    }

    pub(crate) fn lists(&self) -> impl Iterator<Item = &List<K, V>> {
        self.nodes.iter().map(|node| &node.list).filter(|list| !list.is_empty())
    }

    pub(crate) fn get(&self, seed: &Seed, topic_filter: &str) -> Option<&List<K, V>> {
        let node = self.find(seed, topic_filter)?;
        Some(&self.nodes[node].list)
    }

    /// The list of `topic_filter`, made if there is none. The caller puts something into it.
    pub(crate) fn get_or_insert(&mut self, seed: &Seed, topic_filter: &str) -> &mut List<K, V> {
        let node = self.find_or_insert(seed, topic_filter);
        &mut self.nodes[node].list
    }

    /// Changes the list of `topic_filter`, if there is one, and prunes what has become empty.
    pub(crate) fn change<R>(
        &mut self,
        seed: &Seed,
        topic_filter: &str,
        change: impl FnOnce(&mut List<K, V>) -> R,
    ) -> Option<R> {
        let node = self.find(seed, topic_filter)?;
        let result = change(&mut self.nodes[node].list);
        self.prune(seed, node);
        Some(result)
    }

    /// Calls `visit` with the list of each filter that matches `topic_name`.
    #[inline]
    pub(crate) fn for_each_match<'a>(
        &'a self,
        seed: &Seed,
        topic_name: &[u8],
        mut visit: impl FnMut(&'a List<K, V>),
    ) {
        let mut waiting = Waiting::new();
        let root = &self.nodes[ROOT];
        if !hides_from_wildcards(topic_name) {
            if root.hash != NONE {
                visit(&self.nodes[root.hash].list);
            }
            if root.plus != NONE {
                waiting.push((root.plus, 0));
            }
        }
        let mut next = self.literal(seed, ROOT, root, first_level(topic_name)).map(|id| (id, 0));
        // One turn for each node whose first level agrees with the name's level at `at`.
        while let Some((id, at)) = next.or_else(|| waiting.pop()) {
            next = None;
            let node = &self.nodes[id];
            let at = match fit(node.label.as_bytes(), topic_name, at as usize) {
                Fit::No => continue,
                Fit::Upto(at) => at,
                Fit::Rest => {
                    visit(&node.list);
                    continue;
                }
            };
            if node.hash != NONE {
                visit(&self.nodes[node.hash].list);
            }
            if at > topic_name.len() {
                visit(&node.list);
                continue;
            }
            if node.plus != NONE {
                waiting.push((node.plus, at as u32));
            }
            if node.literals_len != 0 {
                let level = &topic_name[at..level_end(topic_name, at)];
                next = self.literal(seed, id, node, level).map(|child| (child, at as u32));
            }
        }
    }

    /// The child of `id` that begins with the literal `level`. An only child comes unchecked,
    /// since its label is going to be compared anyway.
    #[inline]
    fn literal(&self, seed: &Seed, id: u32, node: &Node<K, V>, level: &[u8]) -> Option<u32> {
        match node.literals_len {
            0 => None,
            1 => Some(node.literals_xor),
            _ => {
                let hash = seed.hash_child(id, level);
                self.literals.find(hash, |child| self.is_child(child, id, level))
            }
        }
    }

    #[inline]
    fn is_child(&self, id: u32, parent: u32, level: &[u8]) -> bool {
        let node = &self.nodes[id];
        let label = node.label.as_bytes();
        node.parent == parent
            && label.starts_with(level)
            && label.get(level.len()).is_none_or(|byte| *byte == b'/')
    }

    /// The child of `id` that begins with `level`, wildcards standing for themselves.
    fn child(&self, seed: &Seed, id: u32, level: &[u8]) -> Option<u32> {
        let node = &self.nodes[id];
        let child = match level {
            b"+" => node.plus,
            b"#" => node.hash,
            _ => self
                .literal(seed, id, node, level)
                .filter(|child| self.is_child(*child, id, level))
                .unwrap_or(NONE),
        };
        (child != NONE).then_some(child)
    }

    fn find(&self, seed: &Seed, topic_filter: &str) -> Option<u32> {
        let mut rest = topic_filter.as_bytes();
        let mut id = ROOT;
        loop {
            id = self.child(seed, id, first_level(rest))?;
            let left = rest.strip_prefix(self.nodes[id].label.as_bytes())?;
            match left.split_first() {
                None => return Some(id),
                Some((b'/', left)) => rest = left,
                Some(_) => return None,
            }
        }
    }

    fn find_or_insert(&mut self, seed: &Seed, topic_filter: &str) -> u32 {
        let mut rest = topic_filter;
        let mut parent = ROOT;
        loop {
            let Some(mut id) = self.child(seed, parent, first_level(rest.as_bytes())) else {
                return self.add(seed, parent, rest);
            };
            let label = self.nodes[id].label.as_bytes();
            let common = common_levels(label, rest.as_bytes());
            if common < label.len() {
                id = self.split(seed, id, common);
            }
            if common == rest.len() {
                return id;
            }
            rest = &rest[common + 1..];
            parent = id;
        }
    }

    fn add(&mut self, seed: &Seed, parent: u32, label: &str) -> u32 {
        let id = self.nodes.insert(Node::new(label, parent));
        self.link(seed, id);
        id
    }

    /// Puts a node with the label's first `common` bytes above the node, which keeps the rest.
    fn split(&mut self, seed: &Seed, id: u32, common: usize) -> u32 {
        self.unlink(seed, id);
        let node = &mut self.nodes[id];
        let parent = node.parent;
        let label = core::mem::replace(&mut node.label, Text::new(""));
        let (upper, lower) = (&label.as_str()[..common], &label.as_str()[common + 1..]);
        node.label = Text::new(lower);
        let above = self.add(seed, parent, upper);
        self.nodes[id].parent = above;
        self.link(seed, id);
        above
    }

    /// Frees the node if nothing hangs on it, and joins it with an only child.
    fn prune(&mut self, seed: &Seed, mut id: u32) {
        while id != ROOT && self.nodes[id].list.is_empty() {
            let node = &self.nodes[id];
            let wildcards = usize::from(node.plus != NONE) + usize::from(node.hash != NONE);
            let children = wildcards + node.literals_len as usize;
            if children > 1 {
                break;
            }
            // With one child two of the three are `NONE`, which is zero.
            let only = node.plus | node.hash | node.literals_xor;
            let parent = node.parent;
            if only != NONE {
                self.unlink(seed, only);
            }
            self.unlink(seed, id);
            let above = self.nodes.remove(id).label;
            if only != NONE {
                let child = &mut self.nodes[only];
                let mut label = String::from(above.as_str());
                label.push('/');
                label.push_str(child.label.as_str());
                child.label = Text::new(&label);
                child.parent = parent;
                self.link(seed, only);
                break;
            }
            id = parent;
        }
    }

    /// Enters the node with its parent, by its label's first level.
    fn link(&mut self, seed: &Seed, id: u32) {
        let node = &self.nodes[id];
        let parent = node.parent;
        match first_level(node.label.as_bytes()) {
            b"+" => self.nodes[parent].plus = id,
            b"#" => self.nodes[parent].hash = id,
            level => {
                let hash = seed.hash_child(parent, level);
                self.literals.insert(hash, id);
                let parent = &mut self.nodes[parent];
                parent.literals_len += 1;
                parent.literals_xor ^= id;
            }
        }
    }

    fn unlink(&mut self, seed: &Seed, id: u32) {
        let node = &self.nodes[id];
        let parent = node.parent;
        match first_level(node.label.as_bytes()) {
            b"+" => self.nodes[parent].plus = NONE,
            b"#" => self.nodes[parent].hash = NONE,
            level => {
                let hash = seed.hash_child(parent, level);
                self.literals.remove(hash, id);
                let parent = &mut self.nodes[parent];
                parent.literals_len -= 1;
                parent.literals_xor ^= id;
            }
        }
    }
}

/// Branches that still have to be looked at: the node, and the place in the Topic Name.
struct Waiting {
    inline: [(u32, u32); WAITING_INLINE],
    inline_len: usize,
    spilled: Vec<(u32, u32)>,
}

impl Waiting {
    #[inline]
    fn new() -> Self {
        Self { inline: [(NONE, 0); WAITING_INLINE], inline_len: 0, spilled: Vec::new() }
    }

    #[inline]
    fn push(&mut self, branch: (u32, u32)) {
        if self.inline_len < WAITING_INLINE {
            self.inline[self.inline_len] = branch;
            self.inline_len += 1;
        } else {
            self.spilled.push(branch);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<(u32, u32)> {
        // The spilled ones are younger: last in, first out keeps the stack as deep as the name.
        if let Some(branch) = self.spilled.pop() {
            return Some(branch);
        }
        self.inline_len = self.inline_len.checked_sub(1)?;
        Some(self.inline[self.inline_len])
    }
}
