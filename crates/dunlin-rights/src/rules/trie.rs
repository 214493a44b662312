//! The topics of all rules as tries over their levels, in one arena. What ends at a node says by
//! which rule it may decide, and for whom.

use super::topic::{Level, Value};
use super::{Action, Actions};
use dunlin_codec::QoS;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// No node, and no rule.
pub(super) const NONE: u32 = u32::MAX;

/// The hash of a level below a node. Peers only look up what the rules have put in, so no choice of
/// theirs makes a table slow.
const HASHER: FixedState = FixedState::with_seed(0x6475_6e6c_696e);

/// A piece of [`Trie::texts`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    start: u32,
    end: u32,
}

/// What leads from the parent to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edge {
    Root,
    Literal(Piece),
    Plus,
    Value(Value, Piece, Piece),
}

/// A topic of a rule that ends here.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The rule's place in the file.
    pub(super) ordinal: u32,
    /// What else must hold: a bit of the profile.
    pub(super) class: u32,
    pub(super) allow: Actions,
    pub(super) deny: Actions,
    /// The highest QoS, where it allows.
    pub(super) qos_max: QoS,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) edge: Edge,
    pub(super) parent: u32,
    /// The first child that is no literal, chained by `next`.
    pub(super) first_special: u32,
    /// The first child that is a literal, chained likewise.
    pub(super) first_literal: u32,
    pub(super) next: u32,
    /// The first rule that ends at the node or below it.
    pub(super) lowest: u32,
    /// The first of these that denies subscribing.
    pub(super) lowest_deny: u32,
    /// The first of these that allows subscribing, but not with every QoS.
    pub(super) lowest_capped: u32,
    ends: Piece,
    /// Those that end with `#` here.
    rest: Piece,
}

/// Many tries, each with a root of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    ends: Vec<End>,
    texts: String,
    literals: HashTable<u32>,
}

impl Trie {
    #[inline]
    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// What ends exactly at the node, first rule first.
    #[inline]
    pub(super) fn ends(&self, node: &Node) -> &[End] {
        &self.ends[range(node.ends)]
    }

    /// What ends with `#` at the node, first rule first.
    #[inline]
    pub(super) fn rest(&self, node: &Node) -> &[End] {
        &self.ends[range(node.rest)]
    }

    #[inline]
    pub(super) fn text(&self, piece: Piece) -> &[u8] {
        &self.texts.as_bytes()[range(piece)]
    }

    /// The child of a node for this level as it stands.
    #[inline]
    pub(super) fn literal(&self, parent: u32, level: &[u8]) -> Option<u32> {
        let found = self.literals.find(hash(parent, level), |candidate| {
            let node = self.node(*candidate);
            node.parent == parent
                && matches!(node.edge, Edge::Literal(text) if self.text(text) == level)
        });
        found.copied()
    }
}

#[inline]
fn range(piece: Piece) -> Range<usize> {
    piece.start as usize..piece.end as usize
}

#[inline]
fn hash(parent: u32, level: &[u8]) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write_u32(parent);
    hasher.write(level);
    hasher.finish()
}

/// A [`Trie`] in the making.
#[derive(Default)]
pub(super) struct Builder {
    trie: Trie,
    /// What ends where; whether with `#`.
    ends: Vec<(u32, bool, End)>,
}

impl Builder {
    pub(super) fn root(&mut self) -> u32 {
        self.push(Edge::Root, NONE)
    }

    /// Enters the levels of a topic below a node.
    pub(super) fn insert(&mut self, root: u32, levels: &[Level], end: End) {
        // `+/#` matches what `#` does: there is no Topic Name without a level.
        let levels = match levels {
            [Level::Plus, Level::Hash] => &levels[1..],
            _ => levels,
        };
        let (levels, with_rest) = match levels.split_last() {
            Some((Level::Hash, before)) => (before, true),
            _ => (levels, false),
        };
        let node = levels.iter().fold(root, |node, level| self.child(node, level));
        self.ends.push((node, with_rest, end));
    }

    /// The child for this level, made if it isn't there.
    pub(super) fn child(&mut self, parent: u32, level: &Level) -> u32 {
        let edge = match level {
            Level::Literal(text) => {
                if let Some(child) = self.trie.literal(parent, text.as_bytes()) {
                    return child;
                }
                Edge::Literal(self.piece(text))
            }
            // A `#` here could only be a Share Name, where it is not legal.
            Level::Plus | Level::Hash => {
                if let Some(child) = self.special(parent, |_, edge| matches!(edge, Edge::Plus)) {
                    return child;
                }
                Edge::Plus
            }
            Level::Value(value, before, after) => {
                let found = self.special(parent, |trie, edge| match edge {
                    Edge::Value(same, start, end) => {
                        same == *value
                            && trie.text(start) == before.as_bytes()
                            && trie.text(end) == after.as_bytes()
                    }
                    _ => false,
                });
                if let Some(child) = found {
                    return child;
                }
                Edge::Value(*value, self.piece(before), self.piece(after))
            }
        };
        self.push(edge, parent)
    }

    fn special(&self, parent: u32, wanted: impl Fn(&Trie, Edge) -> bool) -> Option<u32> {
        let mut at = self.trie.node(parent).first_special;
        while at != NONE {
            let node = self.trie.node(at);
            if wanted(&self.trie, node.edge) {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    fn piece(&mut self, text: &str) -> Piece {
        let start = self.trie.texts.len() as u32;
        self.trie.texts.push_str(text);
        Piece { start, end: self.trie.texts.len() as u32 }
    }

    fn push(&mut self, edge: Edge, parent: u32) -> u32 {
        let trie = &mut self.trie;
        let number = trie.nodes.len() as u32;
        let none = Piece { start: 0, end: 0 };
        let mut node = Node {
            edge,
            parent,
            first_special: NONE,
            first_literal: NONE,
            next: NONE,
            lowest: NONE,
            lowest_deny: NONE,
            lowest_capped: NONE,
            ends: none,
            rest: none,
        };
        if let Some(parent) = trie.nodes.get_mut(parent as usize) {
            let first = match edge {
                Edge::Literal(_) => &mut parent.first_literal,
                _ => &mut parent.first_special,
            };
            node.next = std::mem::replace(first, number);
        }
        trie.nodes.push(node);
        if let Edge::Literal(text) = edge {
            let Trie { literals, nodes, texts, .. } = trie;
            let hash_of = |node: &u32| {
                let node = &nodes[*node as usize];
                match node.edge {
                    Edge::Literal(text) => hash(node.parent, &texts.as_bytes()[range(text)]),
                    _ => 0,
                }
            };
            literals.insert_unique(hash(parent, &texts.as_bytes()[range(text)]), number, hash_of);
        }
        number
    }

    pub(super) fn finish(mut self) -> Trie {
        self.ends.sort_unstable_by_key(|(node, with_rest, end)| (*node, *with_rest, end.ordinal));
        let trie = &mut self.trie;
        for (node, with_rest, end) in &self.ends {
            let place = trie.ends.len() as u32;
            trie.ends.push(*end);
            let node = &mut trie.nodes[*node as usize];
            let piece = if *with_rest { &mut node.rest } else { &mut node.ends };
            if piece.end != place {
                piece.start = place;
            }
            piece.end = place + 1;
            node.lowest = node.lowest.min(end.ordinal);
            if end.deny.contains(Action::Subscribe) {
                node.lowest_deny = node.lowest_deny.min(end.ordinal);
            }
            if end.allow.contains(Action::Subscribe) && end.qos_max < QoS::ExactlyOnce {
                node.lowest_capped = node.lowest_capped.min(end.ordinal);
            }
        }
        // Children come after their parents.
        for number in (0..trie.nodes.len()).rev() {
            let Node { parent, lowest, lowest_deny, lowest_capped, .. } = trie.nodes[number];
            if let Some(parent) = trie.nodes.get_mut(parent as usize) {
                parent.lowest = parent.lowest.min(lowest);
                parent.lowest_deny = parent.lowest_deny.min(lowest_deny);
                parent.lowest_capped = parent.lowest_capped.min(lowest_capped);
            }
        }
        self.trie
    }
}
