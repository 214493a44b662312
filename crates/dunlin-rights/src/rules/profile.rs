//! What of the rules concerns one subject, found once, so that each question is about topics alone.

use super::Rules;
use super::compile::Roots;
use super::topic::Value;
use crate::Subject;
use dunlin_codec::Text;
use std::sync::Arc;

/// What of some [`Rules`] concerns one [`Subject`]. Made when it connects and when rules change.
#[derive(Clone, Debug)]
pub struct Profile {
    generation: u64,
    roots: Box<[Roots]>,
    /// Bit by bit, which classes the subject is in: the first 64, and the others.
    first: u64,
    others: Box<[u64]>,
    client_identifier: Option<Text>,
    user_name: Option<Text>,
    /// The rules that came with the identity, and what of them concerns it.
    own: Option<Box<(Arc<Rules>, Profile)>>,
}

impl Rules {
    /// Finds what of these rules, and of those that came with the identity, concerns a subject.
    pub fn profile(&self, subject: &Subject) -> Profile {
        let own = subject.identity().rules();
        let own = own.map(|own| Box::new((own.clone(), own.profile_alone(subject))));
        Profile { own, ..self.profile_alone(subject) }
    }

    fn profile_alone(&self, subject: &Subject) -> Profile {
        let view = self.groups.view(subject);
        let compiled = &self.compiled;
        let user = subject.identity().user();
        let own = [
            user.and_then(|user| compiled.by_user.get(user.as_str())),
            compiled.by_client.get(subject.client_identifier().as_str()),
        ];
        let by_group = view.groups.iter().filter_map(|group| compiled.by_group.get(*group));
        let roots = own.into_iter().flatten().chain(by_group).copied();
        let mut words = vec![0_u64; compiled.classes.len().div_ceil(64)];
        for (class, conditions) in compiled.classes.iter().enumerate() {
            if conditions.first_broken(&view).is_none() {
                words[class / 64] |= 1 << (class % 64);
            }
        }
        let usable = |name: &Text| Value::is_usable(name).then(|| name.clone());
        Profile {
            generation: self.generation,
            roots: roots.chain([compiled.general]).collect(),
            first: words.first().copied().unwrap_or_default(),
            others: words.get(1..).unwrap_or_default().into(),
            client_identifier: usable(subject.client_identifier()),
            user_name: user.and_then(usable),
            own: None,
        }
    }
}

impl Profile {
    /// Whether the profile was made by these rules, or by some of their generation. With one of
    /// another generation they deny everything.
    pub fn is_current(&self, rules: &Rules) -> bool {
        self.generation == rules.generation()
    }

    /// The rules of the identity, which count only beside rules that this profile is for.
    pub(super) fn own(&self, rules: &Rules) -> Option<(&Rules, &Profile)> {
        let (own, profile) = self.own.as_deref()?;
        self.is_current(rules).then_some((own, profile))
    }

    /// Where to search; nowhere with other rules.
    #[inline]
    pub(super) fn roots(&self, rules: &Rules) -> &[Roots] {
        if self.is_current(rules) { &self.roots } else { &[] }
    }

    #[inline]
    pub(super) fn is_in(&self, class: u32) -> bool {
        let word = match class / 64 {
            0 => self.first,
            other => self.others.get(other as usize - 1).copied().unwrap_or_default(),
        };
        word >> (class % 64) & 1 != 0
    }

    /// The value as part of a level, if it can be one.
    #[inline]
    pub(super) fn value(&self, value: Value) -> Option<&[u8]> {
        let name = match value {
            Value::ClientIdentifier => self.client_identifier.as_ref(),
            Value::UserName => self.user_name.as_ref(),
        };
        name.map(Text::as_bytes)
    }

    /// Whether a level is the value with this text before and after it.
    #[inline]
    pub(super) fn is_value(&self, value: Value, before: &[u8], after: &[u8], level: &[u8]) -> bool {
        let Some(own) = self.value(value) else { return false };
        let rest = level.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        rest == Some(own)
    }
}
