//! The text of a file of rules. Every mistake is named with its line and column, and with how to
//! mend it.

mod error;
mod read;

pub use error::{Mistake, RulesError};

use super::conditions::{Conditions, Groups, Key, NamePattern, Who};
use super::{Action, Actions, Caps, Rule, TopicPattern};
use crate::suggest::nearest;
use dunlin_codec::QoS;
use error::Place;
use read::{Entry, Reader, count, size, strings};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a text comes to.
pub(super) struct Parsed {
    pub(super) rules: Vec<Rule>,
    pub(super) groups: Groups,
}

/// A longer text is no file of rules, and what it would be compiled to could fill the memory.
const TEXT_LEN_MAX: usize = 16 << 20;

const TOP_KEYS: [&str; 2] = ["groups", "rule"];

const RULE_KEYS: [&str; 15] = [
    "allow",
    "deny",
    "topics",
    "user",
    "unless_user",
    "client",
    "unless_client",
    "group",
    "unless_group",
    "listener",
    "unless_listener",
    "address",
    "unless_address",
    "qos_max",
    "size_max",
];

const ACTIONS: [&str; 4] = ["publish", "subscribe", "retain", "will"];

type Value<'i> = Spanned<DeValue<'i>>;

pub(super) fn parse(text: &str) -> Result<Parsed, RulesError> {
    if text.len() > TEXT_LEN_MAX {
        return Err(RulesError { line: 1, column: 1, mistake: Mistake::TooLong });
    }
    let mut reader = Reader::default();
    let parsed = match DeTable::parse(text) {
        Ok(document) => reader.file(text, document.get_ref()),
        Err(error) => {
            let message = error.message().trim().replace('\n', "; ");
            reader.wrong(error.span().unwrap_or(0..0), Mistake::Syntax(message));
            Parsed { rules: Vec::new(), groups: Groups::default() }
        }
    };
    if parsed.rules.is_empty() {
        reader.wrong(text.len()..text.len(), Mistake::NoRules);
    }
    match reader.first_mistake() {
        None => Ok(parsed),
        Some(Place { start, mistake }) => {
            let (line, column) = position(text, start);
            Err(RulesError { line, column, mistake })
        }
    }
}

/// Line and column, both from 1, the column in characters.
fn position(text: &str, start: usize) -> (usize, usize) {
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl Reader {
    fn file(&mut self, text: &str, table: &DeTable<'_>) -> Parsed {
        let mut parsed = Parsed { rules: Vec::new(), groups: Groups::default() };
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("groups", DeValue::Table(groups)) => self.groups(groups, &mut parsed.groups),
                ("groups", _) => {
                    let expected = "groups = { operators = [\"alice\"] }";
                    self.wrong(value.span(), Mistake::Type { key: "groups", expected });
                }
                ("rule", DeValue::Array(rules)) => {
                    // The lines are counted on the way: a file may have many rules.
                    let (mut line, mut counted) = (1, 0);
                    for value in rules {
                        let start = value.span().start;
                        let between = text.get(counted..start).unwrap_or_default();
                        (line, counted) = (line + between.matches('\n').count(), start);
                        parsed.rules.extend(self.rule(value, line));
                    }
                }
                ("rule", _) => {
                    let expected = "[[rule]], with two brackets on each side";
                    self.wrong(key.span(), Mistake::Type { key: "rule", expected });
                }
                (unknown, _) => self.unknown(key.span(), unknown, &TOP_KEYS),
            }
        }
        parsed
    }

    fn groups(&mut self, table: &DeTable<'_>, groups: &mut Groups) {
        for (group, members) in table {
            if let Err(reason) = crate::check_name(group.get_ref()) {
                self.wrong(group.span(), Mistake::Name { key: "groups", reason });
            }
            for Entry { text, span } in strings(self, "groups", members) {
                if let Some(member) = self.name_pattern("groups", text, span) {
                    groups.insert(group.get_ref(), member);
                }
            }
        }
    }

    fn rule(&mut self, value: &Value<'_>, line: usize) -> Option<Rule> {
        let DeValue::Table(table) = value.get_ref() else {
            let expected = "a table, as [[rule]] begins one";
            self.wrong(value.span(), Mistake::Type { key: "rule", expected });
            return None;
        };
        let mut source = value.span();
        let mut fields = Fields::default();
        for (key, value) in table {
            source.end = source.end.max(value.span().end);
            self.field(&mut fields, key, value);
        }
        let Fields { allow, deny, topics, required, excluded, caps, cap, has_unknown } = fields;
        if has_unknown {
            // What seems to be missing may be what is misspelt.
            return None;
        }
        let here = value.span();
        // What stands there and is wrong has been told already.
        let allows_nothing = allow.is_none();
        if allow.is_none() && deny.is_none() {
            self.wrong(here.clone(), Mistake::NoAction);
        }
        let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
        if let Some(action) = allow.and(deny).iter().next() {
            self.wrong(here.clone(), Mistake::AllowedAndDenied(action));
        }
        let Some(topics) = topics else {
            self.wrong(here, Mistake::NoTopics);
            return None;
        };
        if let (Some((key, span)), true) = (cap, allows_nothing) {
            self.wrong(span, Mistake::CapOfDenial(key));
        }
        let subscribes = allow.or(deny).contains(Action::Subscribe);
        for (topic, span) in &topics {
            if topic.share_name.is_some() && !subscribes {
                self.wrong(span.clone(), Mistake::ShareWithoutSubscribe);
            }
        }
        let topics = topics.into_iter().map(|(topic, _)| topic).collect();
        let conditions = Conditions { required, excluded };
        Some(Rule { line, source, allow, deny, topics, conditions, caps })
    }

    fn field(
        &mut self,
        fields: &mut Fields,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
    ) {
        let name = key.get_ref().as_ref();
        match name {
            "allow" => fields.allow = Some(self.actions("allow", value)),
            "deny" => fields.deny = Some(self.actions("deny", value)),
            "topics" => fields.topics = Some(self.topics(value)),
            "qos_max" => {
                fields.cap = Some(("qos_max", key.span()));
                match count(value).and_then(|qos| QoS::new(u8::try_from(qos).ok()?)) {
                    Some(qos) => fields.caps.qos_max = qos,
                    None => self.wrong(value.span(), Mistake::QosMax),
                }
            }
            "size_max" => {
                fields.cap = Some(("size_max", key.span()));
                match size(value) {
                    Some(size) => fields.caps.size_max = size,
                    None => self.wrong(value.span(), Mistake::SizeMax),
                }
            }
            _ => {
                let all = Key::ALL.into_iter().flat_map(|key| [(key, false), (key, true)]);
                let found = all.into_iter().find(|(key, unless)| key.word(*unless) == name);
                match found {
                    Some((key, false)) => self.condition(&mut fields.required, key, false, value),
                    Some((key, true)) => self.condition(&mut fields.excluded, key, true, value),
                    None => {
                        fields.has_unknown = true;
                        self.unknown(key.span(), name, &RULE_KEYS);
                    }
                }
            }
        }
    }

    fn actions(&mut self, key: &'static str, value: &Value<'_>) -> Actions {
        let mut actions = Actions::default();
        for Entry { text, span } in strings(self, key, value) {
            match Action::ALL.into_iter().find(|action| action.word() == text) {
                Some(action) => actions = actions.or(Actions::of(&[action])),
                None => {
                    let meant = match text {
                        "read" => Some("subscribe"),
                        "write" => Some("publish"),
                        _ => nearest(text, &ACTIONS),
                    };
                    self.wrong(span, Mistake::UnknownAction { action: text.to_owned(), meant });
                }
            }
        }
        actions
    }

    fn topics(&mut self, value: &Value<'_>) -> Vec<(TopicPattern, Range<usize>)> {
        let mut topics = Vec::new();
        for Entry { text, span } in strings(self, "topics", value) {
            match text.parse() {
                Ok(topic) => topics.push((topic, span)),
                Err(reason) => self.wrong(span, Mistake::Topic(reason)),
            }
        }
        topics
    }

    fn condition(&mut self, who: &mut Who, key: Key, unless: bool, value: &Value<'_>) {
        let word = key.word(unless);
        let entries = strings(self, word, value);
        if key == Key::Address {
            let mut networks = Vec::new();
            for Entry { text, span } in entries {
                match text.parse::<super::conditions::Network>() {
                    Ok(network) => networks.push(network),
                    Err(reason) => {
                        let reason = reason.to_string();
                        self.wrong(span, Mistake::Address { key: word, reason });
                    }
                }
            }
            who.addresses = networks.into();
            return;
        }
        let mut patterns = Vec::new();
        for Entry { text, span } in entries {
            patterns.extend(self.name_pattern(word, text, span));
        }
        let list = match key {
            Key::User => &mut who.users,
            Key::Client => &mut who.clients,
            Key::Group => &mut who.groups,
            Key::Listener | Key::Address => &mut who.listeners,
        };
        *list = patterns.into();
    }

    fn name_pattern(
        &mut self,
        key: &'static str,
        text: &str,
        span: Range<usize>,
    ) -> Option<NamePattern> {
        match text.parse::<NamePattern>() {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                let reason = reason.to_string();
                self.wrong(span, Mistake::NamePattern { key, reason });
                None
            }
        }
    }

    fn unknown(&mut self, span: Range<usize>, key: &str, known: &'static [&'static str]) {
        let nearest = nearest(key, known);
        self.wrong(span, Mistake::UnknownKey { key: key.to_owned(), nearest, known });
    }
}

/// What a rule says, as far as it was read.
struct Fields {
    allow: Option<Actions>,
    deny: Option<Actions>,
    topics: Option<Vec<(TopicPattern, Range<usize>)>>,
    required: Who,
    excluded: Who,
    caps: Caps,
    /// A key that limits what is allowed, and where it stands.
    cap: Option<(&'static str, Range<usize>)>,
    /// Whether there is a key that none has.
    has_unknown: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            allow: None,
            deny: None,
            topics: None,
            required: Who::default(),
            excluded: Who::default(),
            caps: Caps::NONE,
            cap: None,
            has_unknown: false,
        }
    }
}
