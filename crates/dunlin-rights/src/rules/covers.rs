//! Whether a Topic Filter may be subscribed to: the first rule with a topic that contains it, and
//! whether an earlier rule denies some of it, or allows some of it with a lower QoS alone.

use super::topic::LEVELS_MAX;
use super::trie::{Edge, End, NONE, Trie};
use super::verdict::{Decision, edge_fits, for_each_share, level_end};
use super::{Action, Profile, Rules};
use dunlin_codec::TopicFilter;

/// What the rules say about subscribing to a Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Covers {
    /// A rule allows all that it matches.
    All(Decision),
    /// A rule allows it, but some of what it matches is denied before, or allowed with a lower QoS:
    /// each delivery has to ask [`Rules::receive`].
    Holes(Decision),
    /// It is denied, by a rule or because none contains it.
    No(Decision),
}

impl Covers {
    /// The rule that decided, and how much it allows.
    pub const fn decision(&self) -> Decision {
        let (Self::All(decision) | Self::Holes(decision) | Self::No(decision)) = self;
        *decision
    }

    /// Whether the subscription may be made.
    pub const fn is_allowed(&self) -> bool {
        self.decision().is_allowed()
    }
}

impl Rules {
    /// What they say about subscribing to this Topic Filter, which may be that of a Shared
    /// Subscription. Allocates nothing; a filter without wildcards costs as much as a Topic Name,
    /// others look at the topics of rules that deny something of what they match, or cap its QoS.
    pub fn covers(&self, profile: &Profile, topic_filter: &TopicFilter) -> Covers {
        let trie = &self.compiled.trie;
        let filter = match topic_filter.matching_part() {
            // The same Topic Names, and a `#` contains it.
            "+/#" => "#",
            filter => filter,
        };
        let filter = filter.as_bytes();
        let share_name = topic_filter.share_name();
        let is_hidden = filter.first() == Some(&b'$');
        let denials_only = share_name.is_some();
        let mut search = Search {
            trie,
            profile,
            filter,
            is_hidden,
            denials_only,
            containing: NONE,
            denying: NONE,
            capping: [NONE; 2],
        };
        for roots in profile.roots(self) {
            search.walk(roots.ordinary);
        }
        search.denials_only = false;
        if let Some(share_name) = share_name {
            for roots in profile.roots(self) {
                let walk = |root| search.walk(root);
                for_each_share(trie, profile, roots.shared, share_name, walk);
            }
        }
        let decision = self.decision(Action::Subscribe, search.containing);
        if decision.rule().is_none()
            && let Some((own, profile)) = profile.own(self)
        {
            return match own.covers(profile, topic_filter) {
                Covers::All(decision) if !search.has_holes(decision) => {
                    Covers::All(decision.of_identity())
                }
                Covers::All(decision) | Covers::Holes(decision) => {
                    Covers::Holes(decision.of_identity())
                }
                Covers::No(decision) => Covers::No(decision.of_identity()),
            };
        }
        match decision.is_allowed() {
            false => Covers::No(decision),
            true if search.has_holes(decision) => Covers::Holes(decision),
            true => Covers::All(decision),
        }
    }
}

/// How a topic of a rule, as far as it was followed, relates to the Topic Filter so far.
#[derive(Clone, Copy)]
struct Way {
    /// Where the next level of the Topic Filter starts; past its end if there is none.
    at: usize,
    /// Whether the topic matches whatever the filter does, or else only some of it.
    contains: bool,
    /// Whether the filter's `#` was reached, which matches whatever the topic goes on with.
    in_rest: bool,
}

struct Search<'a> {
    trie: &'a Trie,
    profile: &'a Profile,
    filter: &'a [u8],
    /// Whether the filter begins with `$`.
    is_hidden: bool,
    denials_only: bool,
    /// The first rule with a topic that contains the filter.
    containing: u32,
    /// The first rule that denies some of what the filter matches.
    denying: u32,
    /// By QoS, the first rule that allows some of what the filter matches with no higher one.
    capping: [u32; 2],
}

impl Search<'_> {
    fn take(&mut self, ends: &[End], contains: bool) {
        for end in ends {
            let denies = end.deny.contains(Action::Subscribe);
            let counts = denies || end.allow.contains(Action::Subscribe) && !self.denials_only;
            let last = if contains { self.containing } else { self.last_hole() };
            if end.ordinal >= last {
                break;
            }
            if !counts || !self.profile.is_in(end.class) {
                continue;
            }
            if contains {
                self.containing = end.ordinal;
            }
            if denies {
                self.denying = self.denying.min(end.ordinal);
            } else if let Some(capping) = self.capping.get_mut(usize::from(end.qos_max.value())) {
                *capping = end.ordinal.min(*capping);
            }
        }
    }

    /// No rule from this one on makes a hole that is not known.
    fn last_hole(&self) -> u32 {
        let [at_most_once, at_least_once] = self.capping;
        self.denying.max(at_most_once).max(at_least_once).min(self.containing)
    }

    /// Whether an earlier rule denies some of what this decision allows, or caps it lower.
    fn has_holes(&self, decision: Decision) -> bool {
        let lower = self.capping.iter().take(usize::from(decision.caps().qos_max.value()));
        lower.chain([&self.denying]).any(|hole| *hole < self.containing)
    }

    /// What the filter's level at this place is.
    fn level(&self, at: usize) -> &[u8] {
        self.filter.get(at..level_end(self.filter, at)).unwrap_or_default()
    }

    /// Follows all ways that have a Topic Name in common with the filter.
    fn walk(&mut self, root: u32) {
        let trie = self.trie;
        let mut open = [(NONE, Way { at: 0, contains: false, in_rest: false }); LEVELS_MAX + 1];
        let mut depth = 0;
        let mut number = root;
        let mut way = Way { at: 0, contains: true, in_rest: false };
        loop {
            let node = trie.node(number);
            // What contains the filter counts, and what denies some of it before that.
            let may_contain = way.contains && node.lowest < self.containing;
            let may_deny = node.lowest_deny < self.denying.min(self.containing);
            let may_cap = node.lowest_capped < self.last_hole();
            if may_contain || may_deny || may_cap {
                let is_root = number == root;
                if !way.in_rest && self.level(way.at) == b"#" {
                    way.in_rest = true;
                }
                if !(is_root && self.is_hidden) {
                    self.take(trie.rest(node), way.contains);
                }
                way.contains &= !way.in_rest;
                let is_over = way.at > self.filter.len();
                if way.in_rest || is_over {
                    self.take(trie.ends(node), way.contains);
                }
                // The children to follow: all of them if the filter's level is a wildcard.
                let children = if is_over && !way.in_rest {
                    NONE
                } else if way.in_rest || self.level(way.at) == b"+" {
                    first_of(node.first_special, node.first_literal)
                } else {
                    node.first_special
                };
                if children != NONE
                    && let Some(place) = open.get_mut(depth)
                {
                    *place = (children, way);
                    depth += 1;
                }
                let is_single = !way.in_rest && !is_over && self.level(way.at) != b"+";
                if is_single && let Some(child) = trie.literal(number, self.level(way.at)) {
                    way.at = level_end(self.filter, way.at) + 1;
                    number = child;
                    continue;
                }
            }
            loop {
                let Some(last) = depth.checked_sub(1) else { return };
                let (child, before) = open[last];
                match self.sibling(child, before) {
                    NONE => depth = last,
                    next => open[last].0 = next,
                }
                if let Some(next) = self.step(child, before, root) {
                    (number, way) = (child, next);
                    break;
                }
            }
        }
    }

    /// The child to follow after this one.
    fn sibling(&self, child: u32, way: Way) -> u32 {
        let node = self.trie.node(child);
        let is_wild = way.in_rest || self.level(way.at) == b"+";
        let is_last_special = node.next == NONE && !matches!(node.edge, Edge::Literal(_));
        if is_wild && is_last_special {
            return self.trie.node(node.parent).first_literal;
        }
        node.next
    }

    /// The way behind an edge, if the filter's level and the edge have something in common.
    fn step(&self, child: u32, way: Way, root: u32) -> Option<Way> {
        let node = self.trie.node(child);
        let is_first = node.parent == root;
        let level = self.level(way.at);
        let is_wild = way.in_rest || level == b"+";
        if !is_wild {
            let is_kept_away = is_first && self.is_hidden && matches!(node.edge, Edge::Plus);
            if is_kept_away || !edge_fits(self.trie, self.profile, node.edge, level) {
                return None;
            }
            return Some(Way { at: level_end(self.filter, way.at) + 1, ..way });
        }
        let begins_with_dollar = |text: &[u8]| text.first() == Some(&b'$');
        match node.edge {
            Edge::Literal(text) if is_first && begins_with_dollar(self.trie.text(text)) => {
                return None;
            }
            Edge::Value(value, before, _) => {
                self.profile.value(value)?;
                if is_first && begins_with_dollar(self.trie.text(before)) {
                    return None;
                }
            }
            _ => {}
        }
        if way.in_rest {
            return Some(way);
        }
        let contains = way.contains && matches!(node.edge, Edge::Plus);
        Some(Way { at: level_end(self.filter, way.at) + 1, contains, ..way })
    }
}

fn first_of(special: u32, literal: u32) -> u32 {
    if special == NONE { literal } else { special }
}
