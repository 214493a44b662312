//! From rules to tries: one for the rules of each user, Client Identifier and group that a rule
//! names, and one for the rest, so that ten thousand rules for ten thousand users cost as one.

use super::conditions::{Conditions, NamePattern, Who};
use super::trie::{Builder, End, Trie};
use super::{Action, Rule};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// A rule for more names than this goes to the rest: its topics are not repeated for each.
const NAMES_MAX: usize = 8;

/// Where the rules for some name begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roots {
    /// Their topics for everything but Shared Subscriptions.
    pub(super) ordinary: u32,
    /// Below the Share Name, their topics for these.
    pub(super) shared: u32,
}

pub(super) type Names = HashMap<Box<str>, Roots, FixedState>;

/// Rules that can be searched.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) trie: Trie,
    pub(super) general: Roots,
    pub(super) by_user: Names,
    pub(super) by_client: Names,
    pub(super) by_group: Names,
    /// What has to hold beside the topics and the names above, each once: the classes.
    pub(super) classes: Vec<Conditions>,
}

#[derive(Clone, Copy)]
enum By {
    User,
    Client,
    Group,
}

impl Compiled {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut builder = Builder::default();
        let general = Roots { ordinary: builder.root(), shared: builder.root() };
        let (mut by_user, mut by_client, mut by_group) =
            (Names::default(), Names::default(), Names::default());
        // The first class is that of everybody.
        let everybody = Conditions::default();
        let mut classes = vec![everybody.clone()];
        let mut known = HashMap::<_, u32, FixedState>::default();
        known.insert(everybody, 0);
        for (ordinal, rule) in (0..).zip(rules) {
            let (names, conditions) = split(&rule.conditions);
            let class = *known.entry(conditions).or_insert_with_key(|conditions| {
                classes.push(conditions.clone());
                classes.len() as u32 - 1
            });
            let qos_max = rule.caps.qos_max;
            let end = End { ordinal, class, allow: rule.allow, deny: rule.deny, qos_max };
            let roots = match names {
                None => vec![general],
                Some((by, names)) => {
                    let table = match by {
                        By::User => &mut by_user,
                        By::Client => &mut by_client,
                        By::Group => &mut by_group,
                    };
                    let make = |builder: &mut Builder| Roots {
                        ordinary: builder.root(),
                        shared: builder.root(),
                    };
                    let names = names.into_iter();
                    names
                        .map(|name| *table.entry(name.into()).or_insert_with(|| make(&mut builder)))
                        .collect()
                }
            };
            for Roots { ordinary, shared } in roots {
                for topic in &rule.topics {
                    match &topic.share_name {
                        None => builder.insert(ordinary, &topic.levels, end),
                        Some(share_name) => {
                            let root = builder.child(shared, share_name);
                            let only = super::Actions::of(&[Action::Subscribe]);
                            let (allow, deny) = (end.allow.and(only), end.deny.and(only));
                            builder.insert(root, &topic.levels, End { allow, deny, ..end });
                        }
                    }
                }
            }
        }
        Self { trie: builder.finish(), general, by_user, by_client, by_group, classes }
    }
}

/// The names that a rule is for, each once, if it is for few, and what else has to hold.
fn split(conditions: &Conditions) -> (Option<(By, Vec<&str>)>, Conditions) {
    let required = &conditions.required;
    let lists = [
        (By::User, &required.users),
        (By::Client, &required.clients),
        (By::Group, &required.groups),
    ];
    for (by, list) in lists {
        let Some(names) = few_names(list) else { continue };
        let mut required = required.clone();
        let Who { users, clients, groups, .. } = &mut required;
        match by {
            By::User => *users = Box::default(),
            By::Client => *clients = Box::default(),
            By::Group => *groups = Box::default(),
        }
        let excluded = conditions.excluded.clone();
        return (Some((by, names)), Conditions { required, excluded });
    }
    (None, conditions.clone())
}

fn few_names(list: &[NamePattern]) -> Option<Vec<&str>> {
    if list.is_empty() || list.len() > NAMES_MAX {
        return None;
    }
    let mut names = list.iter().map(NamePattern::exact).collect::<Option<Vec<_>>>()?;
    names.sort_unstable();
    names.dedup();
    Some(names)
}
