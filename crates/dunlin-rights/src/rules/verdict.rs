//! The rule that decides about a Topic Name: the first of those that the tries give.

use super::topic::LEVELS_MAX;
use super::trie::{Edge, End, NONE, Trie};
use super::{Action, Actions, Caps, Profile, RuleNumber, Rules};
use dunlin_codec::QoS;

/// What the rules say about one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    rule: Option<RuleNumber>,
    is_allowed: bool,
    caps: Caps,
}

impl Decision {
    /// No rule matches, so it is denied.
    pub const NO_RULE: Self = Self { rule: None, is_allowed: false, caps: Caps::NONE };

    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// The rule that decided; `None` if none matches.
    pub const fn rule(&self) -> Option<RuleNumber> {
        self.rule
    }

    /// The same, by a rule of the identity.
    pub(super) fn of_identity(mut self) -> Self {
        self.rule = self.rule.map(|rule| RuleNumber { is_of_identity: true, ..rule });
        self
    }

    /// Itself if a rule made it, and else what the rules of the identity say.
    fn or_of_identity(self, further: Self) -> Self {
        if self.rule.is_some() { self } else { further.of_identity() }
    }

    /// How much is allowed at most, if it is.
    pub const fn caps(&self) -> Caps {
        self.caps
    }
}

/// What the rules say about publishing to one Topic Name, whatever the PUBLISH is like: worth
/// remembering as long as the rules are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishVerdict {
    /// About publishing; its caps are in force.
    pub publish: Decision,
    /// About RETAIN.
    pub retain: Decision,
    /// About a Will.
    pub will: Decision,
}

/// Why a message may not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The action is denied, by a rule or for want of one.
    #[error("{action} is denied")]
    Denied {
        /// What the message would need.
        action: Action,
        /// The rule, if there is one.
        rule: Option<RuleNumber>,
    },
    /// The QoS is higher than the rule allows.
    #[error("QoS {} is the highest that is allowed", qos_max.value())]
    QoS {
        /// The rule.
        rule: Option<RuleNumber>,
        /// The highest QoS.
        qos_max: QoS,
    },
    /// The payload is longer than the rule allows.
    #[error("a payload of {size_max} bytes is the longest that is allowed")]
    Size {
        /// The rule.
        rule: Option<RuleNumber>,
        /// The longest payload, in bytes.
        size_max: u32,
    },
}

impl PublishVerdict {
    /// Whether a PUBLISH with this QoS, payload length in bytes, and RETAIN may go on.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, qos: QoS, payload_len: usize, retain: bool) -> Result<(), Refusal> {
        let needed = [
            Some((Action::Publish, self.publish)),
            retain.then_some((Action::Retain, self.retain)),
        ];
        check(needed.into_iter().flatten(), qos, payload_len)
    }

    /// Whether such a message may be left as a Will.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check_will(&self, qos: QoS, payload_len: usize, retain: bool) -> Result<(), Refusal> {
        check([(Action::Will, self.will)].into_iter(), qos, payload_len)?;
        self.check(qos, payload_len, retain)
    }
}

/// Whether all that is needed is allowed, and the message within the caps of each deciding rule.
fn check(
    needed: impl Iterator<Item = (Action, Decision)>,
    qos: QoS,
    payload_len: usize,
) -> Result<(), Refusal> {
    for (action, Decision { rule, is_allowed, caps }) in needed {
        if !is_allowed {
            return Err(Refusal::Denied { action, rule });
        }
        if qos > caps.qos_max {
            return Err(Refusal::QoS { rule, qos_max: caps.qos_max });
        }
        if payload_len > caps.size_max as usize {
            return Err(Refusal::Size { rule, size_max: caps.size_max });
        }
    }
    Ok(())
}

impl Rules {
    /// What they say about publishing to this Topic Name. Allocates nothing.
    pub fn publish(&self, profile: &Profile, topic_name: &str) -> PublishVerdict {
        let wanted = Actions::of(&[Action::Publish, Action::Retain, Action::Will]);
        let mut search = Search::new(&self.compiled.trie, profile, wanted);
        for roots in profile.roots(self) {
            search.walk(roots.ordinary, topic_name.as_bytes());
        }
        let decision = |action| self.decision(action, search.first[action as usize]);
        let mut verdict = PublishVerdict {
            publish: decision(Action::Publish),
            retain: decision(Action::Retain),
            will: decision(Action::Will),
        };
        if let Some((own, profile)) = profile.own(self) {
            let further = own.publish(profile, topic_name);
            verdict.publish = verdict.publish.or_of_identity(further.publish);
            verdict.retain = verdict.retain.or_of_identity(further.retain);
            verdict.will = verdict.will.or_of_identity(further.will);
        }
        verdict
    }

    /// Whether a message with this Topic Name may be delivered, for a Shared Subscription with its
    /// Share Name. Allocates nothing.
    pub fn receive(
        &self,
        profile: &Profile,
        share_name: Option<&str>,
        topic_name: &str,
    ) -> Decision {
        let wanted = Actions::of(&[Action::Subscribe]);
        let mut search = Search::new(&self.compiled.trie, profile, wanted);
        search.denials_only = share_name.is_some();
        for roots in profile.roots(self) {
            search.walk(roots.ordinary, topic_name.as_bytes());
        }
        search.denials_only = false;
        if let Some(share_name) = share_name {
            for roots in profile.roots(self) {
                let trie = search.trie;
                for_each_share(trie, profile, roots.shared, share_name, |root| {
                    search.walk(root, topic_name.as_bytes());
                });
            }
        }
        let first = search.first[Action::Subscribe as usize];
        let decision = self.decision(Action::Subscribe, first);
        match profile.own(self) {
            Some((own, profile)) => {
                decision.or_of_identity(own.receive(profile, share_name, topic_name))
            }
            None => decision,
        }
    }

    pub(super) fn decision(&self, action: Action, ordinal: u32) -> Decision {
        let Some(rule) = self.rules.get(ordinal as usize) else { return Decision::NO_RULE };
        let is_allowed = rule.allow.contains(action);
        Decision { rule: RuleNumber::at(ordinal), is_allowed, caps: rule.caps }
    }
}

/// Calls back with each node for topics about Shared Subscriptions with this name.
pub(super) fn for_each_share(
    trie: &Trie,
    profile: &Profile,
    shared: u32,
    share_name: &str,
    mut each: impl FnMut(u32),
) {
    let name = share_name.as_bytes();
    if let Some(node) = trie.literal(shared, name) {
        each(node);
    }
    let mut at = trie.node(shared).first_special;
    while at != NONE {
        let node = trie.node(at);
        if edge_fits(trie, profile, node.edge, name) {
            each(at);
        }
        at = node.next;
    }
}

/// Whether a level fits an edge that is no literal; knows nothing of `$`.
#[inline]
pub(super) fn edge_fits(trie: &Trie, profile: &Profile, edge: Edge, level: &[u8]) -> bool {
    match edge {
        Edge::Plus => true,
        Edge::Value(value, before, after) => {
            profile.is_value(value, trie.text(before), trie.text(after), level)
        }
        Edge::Literal(_) | Edge::Root => false,
    }
}

/// The end of the level that starts at this place: the next `/`, or the end of the text.
#[inline]
pub(super) fn level_end(text: &[u8], start: usize) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut rest = text.get(start..).unwrap_or_default();
    // Eight bytes at a time. Where a `/` was is zero, and subtracting borrows there first.
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let marked = u64::from_le_bytes(*eight) ^ (EACH * u64::from(b'/'));
        let zeros = marked.wrapping_sub(EACH) & !marked & (EACH << 7);
        if zeros != 0 {
            return text.len() - rest.len() + (zeros.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    text.len() - rest.len() + length
}

/// A search for the first rule of each wanted action.
struct Search<'a> {
    trie: &'a Trie,
    profile: &'a Profile,
    wanted: Actions,
    /// Whether only rules that deny count.
    denials_only: bool,
    /// By action, the first rule so far.
    first: [u32; 4],
    /// What comes later than this in the file changes nothing.
    limit: u32,
}

/// A way that was left open: the next child that is no literal, and the level for it.
#[derive(Clone, Copy)]
struct Open {
    special: u32,
    start: u32,
    end: u32,
}

impl<'a> Search<'a> {
    fn new(trie: &'a Trie, profile: &'a Profile, wanted: Actions) -> Self {
        Self { trie, profile, wanted, denials_only: false, first: [NONE; 4], limit: NONE }
    }

    #[inline]
    fn take(&mut self, ends: &[End]) {
        for end in ends {
            if end.ordinal >= self.limit {
                break;
            }
            let named = if self.denials_only { end.deny } else { end.allow.or(end.deny) };
            let named = named.and(self.wanted);
            if named.is_empty() || !self.profile.is_in(end.class) {
                continue;
            }
            for action in named.iter() {
                let first = &mut self.first[action as usize];
                *first = end.ordinal.min(*first);
            }
            let wanted = self.wanted.iter().map(|action| self.first[action as usize]);
            self.limit = wanted.max().unwrap_or(NONE);
        }
    }

    /// Follows all ways through a trie that fit the name, back and forth: a way that was left
    /// open is remembered once for each level of the rules.
    fn walk(&mut self, root: u32, name: &[u8]) {
        let trie = self.trie;
        // Wildcards at the start keep away from `$` [MQTT-4.7.2-1].
        let is_hidden = name.first() == Some(&b'$');
        let mut open = [Open { special: 0, start: 0, end: 0 }; LEVELS_MAX + 1];
        let mut depth = 0;
        let (mut number, mut at) = (root, 0);
        loop {
            let node = trie.node(number);
            if node.lowest < self.limit {
                let is_root = number == root;
                if !(is_hidden && is_root) {
                    self.take(trie.rest(node));
                }
                if at > name.len() {
                    self.take(trie.ends(node));
                } else if node.first_special != NONE || node.first_literal != NONE {
                    let end = level_end(name, at);
                    if node.first_special != NONE
                        && let Some(place) = open.get_mut(depth)
                    {
                        let special = node.first_special;
                        *place = Open { special, start: at as u32, end: end as u32 };
                        depth += 1;
                    }
                    if node.first_literal != NONE
                        && let Some(child) = trie.literal(number, &name[at..end])
                    {
                        (number, at) = (child, end + 1);
                        continue;
                    }
                }
            }
            // This way is at its end: take the last one that was left open.
            loop {
                let Some(last) = depth.checked_sub(1) else { return };
                let Open { special, start, end } = open[last];
                let (start, end) = (start as usize, end as usize);
                let node = trie.node(special);
                if node.next == NONE {
                    depth = last;
                } else {
                    open[last].special = node.next;
                }
                let is_kept_away =
                    is_hidden && node.parent == root && matches!(node.edge, Edge::Plus);
                if !is_kept_away && edge_fits(trie, self.profile, node.edge, &name[start..end]) {
                    (number, at) = (special, end + 1);
                    break;
                }
            }
        }
    }
}
