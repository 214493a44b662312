//! Topic Aliases in both directions. Spec: §3.3.2.3.4.

use crate::Violation;
use alloc::vec::Vec;
use dunlin_codec::{PublishTopic, TopicAlias, TopicName};
use hashbrown::HashMap;

/// A Topic Name of at most this many bytes is sent as it is: an alias would not be shorter.
const UNALIASED_LEN_MAX: usize = 4;

/// The Topic Aliases of one connection. They end with it [MQTT-3.3.2-7].
#[derive(Debug)]
pub(crate) struct Aliases {
    inbound_max: u16,
    /// What the peer's aliases stand for; index 0 is alias 1. Grows as far as the peer uses it.
    inbound: Vec<Option<TopicName>>,
    outbound_max: u16,
    outbound: Vec<OutboundAlias>,
    by_name: HashMap<TopicName, u16>,
    uses: u64,
}

#[derive(Debug)]
struct OutboundAlias {
    topic_name: TopicName,
    last_use: u64,
}

/// How to name the topic of the next PUBLISH; takes effect with [`Aliases::commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AliasPlan {
    slot: u16,
    /// Whether the Topic Name must be sent with the alias.
    pub(crate) with_name: bool,
}

impl AliasPlan {
    pub(crate) const fn alias(self) -> Option<TopicAlias> {
        TopicAlias::new(self.slot + 1)
    }
}

impl Aliases {
    pub(crate) fn new(inbound_max: u16, outbound_max: u16) -> Self {
        Self {
            inbound_max,
            inbound: Vec::new(),
            outbound_max,
            outbound: Vec::new(),
            by_name: HashMap::new(),
            uses: 0,
        }
    }

    /// The Topic Name that an inbound PUBLISH means.
    pub(crate) fn resolve(&mut self, topic: PublishTopic) -> Result<TopicName, Violation> {
        let checked = |alias: TopicAlias, max: u16| {
            if alias.value() > max {
                return Err(Violation::TopicAliasInvalid(alias.value()));
            }
            Ok(usize::from(alias.value() - 1))
        };
        match topic {
            PublishTopic::Name(topic_name) => Ok(topic_name),
            PublishTopic::NameAndAlias(topic_name, alias) => {
                let at = checked(alias, self.inbound_max)?;
                if self.inbound.len() <= at {
                    self.inbound.resize(at + 1, None);
                }
                self.inbound[at] = Some(topic_name.detached());
                Ok(topic_name)
            }
            PublishTopic::Alias(alias) => {
                let at = checked(alias, self.inbound_max)?;
                self.inbound
                    .get(at)
                    .and_then(Clone::clone)
                    .ok_or(Violation::TopicAliasUnknown(alias.value()))
            }
        }
    }

    /// Chooses an alias for an outbound PUBLISH: the one it has, a free one, or the one that was
    /// not used for longest.
    pub(crate) fn plan(&self, topic_name: &TopicName) -> Option<AliasPlan> {
        if self.outbound_max == 0 || topic_name.len() <= UNALIASED_LEN_MAX {
            return None;
        }
        if let Some(slot) = self.by_name.get(topic_name) {
            return Some(AliasPlan { slot: *slot, with_name: false });
        }
        let free = u16::try_from(self.outbound.len()).ok()?;
        if free < self.outbound_max {
            return Some(AliasPlan { slot: free, with_name: true });
        }
        let (slot, _) = self.outbound.iter().enumerate().min_by_key(|(_, alias)| alias.last_use)?;
        Some(AliasPlan { slot: u16::try_from(slot).ok()?, with_name: true })
    }

    /// # Panics
    /// When one side has more aliases than it may, or the two views of our own differ.
    pub(super) fn check_invariants(&self) {
        assert!(self.inbound.len() <= usize::from(self.inbound_max), "inbound Topic Aliases");
        assert!(self.outbound.len() <= usize::from(self.outbound_max), "outbound Topic Aliases");
        assert_eq!(self.outbound.len(), self.by_name.len(), "names and Topic Aliases");
    }

    /// The PUBLISH that was planned has been encoded.
    pub(crate) fn commit(&mut self, plan: AliasPlan, topic_name: &TopicName) {
        self.uses += 1;
        let slot = usize::from(plan.slot);
        if plan.with_name {
            let topic_name = topic_name.detached();
            self.by_name.insert(topic_name.clone(), plan.slot);
            let alias = OutboundAlias { topic_name, last_use: self.uses };
            if slot == self.outbound.len() {
                self.outbound.push(alias);
            } else {
                let replaced = core::mem::replace(&mut self.outbound[slot], alias);
                self.by_name.remove(&replaced.topic_name);
            }
        } else {
            self.outbound[slot].last_use = self.uses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check_outbound(max: u16, topics: &[&str], expected: &[(u16, bool)]) {
        let mut aliases = Aliases::new(0, max);
        let mut chosen = Vec::new();
        for topic in topics {
            let topic_name = name(topic);
            let plan = aliases.plan(&topic_name).unwrap();
            aliases.commit(plan, &topic_name);
            chosen.push((plan.alias().unwrap().value(), plan.with_name));
        }
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_topic_keeps_its_alias() {
        check_outbound(2, &["a/b/c", "a/b/c", "d/e/f"], &[(1, true), (1, false), (2, true)]);
    }

    #[test]
    fn the_alias_unused_for_longest_is_taken_over() {
        check_outbound(
            2,
            &["a/b/c", "d/e/f", "a/b/c", "g/h/i", "a/b/c", "d/e/f"],
            &[(1, true), (2, true), (1, false), (2, true), (1, false), (2, true)],
        );
    }

    #[test]
    fn a_plan_that_is_not_committed_changes_nothing() {
        let mut aliases = Aliases::new(0, 1);
        let (first, second) = (name("first"), name("second"));
        let plan = aliases.plan(&first).unwrap();
        aliases.commit(plan, &first);
        assert!(aliases.plan(&second).unwrap().with_name);
        assert!(!aliases.plan(&first).unwrap().with_name);
    }

    #[test]
    fn short_topic_names_get_no_alias() {
        assert_eq!(Aliases::new(0, 9).plan(&name("abcd")), None);
    }

    #[test]
    fn inbound_aliases_are_checked() {
        let mut aliases = Aliases::new(2, 0);
        let alias = |value| TopicAlias::new(value).unwrap();
        assert_eq!(
            aliases.resolve(PublishTopic::Alias(alias(1))),
            Err(Violation::TopicAliasUnknown(1))
        );
        assert_eq!(
            aliases.resolve(PublishTopic::NameAndAlias(name("t"), alias(3))),
            Err(Violation::TopicAliasInvalid(3))
        );
        aliases.resolve(PublishTopic::NameAndAlias(name("t"), alias(2))).unwrap();
        assert_eq!(aliases.resolve(PublishTopic::Alias(alias(2))), Ok(name("t")));
        assert_eq!(
            aliases.resolve(PublishTopic::Alias(alias(1))),
            Err(Violation::TopicAliasUnknown(1))
        );
    }
}
