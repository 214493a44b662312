//! Puts a [`Config`] together: defaults, then the file, the environment, and the flags.

use super::setting::{Kind, Setting, Value, settings, topic_rule};
use super::show::table_of;
use super::suggest::nearest;
use super::{Config, Listener};
use crate::core::Durability;
use dunlin_protocol::codec::TopicFilter;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "DUNLIN_CONFIG";
const VARIABLE_PREFIX: &str = "DUNLIN_";
/// Nobody else has variables like these: an unknown one is a mistake, which could leave a broker
/// open that should ask who its clients are.
const OWN_PREFIXES: [&str; 3] = ["DUNLIN_LIMITS_", "DUNLIN_AUTH", "DUNLIN_PASSW"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the configuration file, from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// How the user knows it, such as `--listen`.
    pub name: String,
    /// The setting's key, such as `listeners`.
    pub key: String,
    /// The value as typed; listeners are separated by commas.
    pub value: String,
}

/// A mistake of the operator: where it is, what it is, and how to mend it, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{origin}: can't read {}: {reason}", path.display())]
    Unreadable {
        /// What named the file.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The file isn't TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What the parser said.
        message: String,
    },
    /// No setting has this name.
    #[error("{origin}: unknown setting `{key}`{}", did_you_mean(.nearest.as_deref()))]
    Unknown {
        /// Where it is.
        origin: Origin,
        /// The name.
        key: String,
        /// A setting with a similar name.
        nearest: Option<String>,
    },
    /// The setting can't have this value.
    #[error("{}: {reason}", place(.origin, .key))]
    Value {
        /// Where it is.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// Others than this machine could connect, and nobody said whether they may without
    /// credentials.
    #[error("{origin}: {}", listener.exposure())]
    Exposed {
        /// Where the listener is set.
        origin: Origin,
        /// The listener.
        listener: Box<Listener>,
    },
    /// Passwords would come from other machines for all to read.
    #[error(
        "{origin}: passwords that come by listener {listener} can be read on the way; use \
         mqtts:// there, or set auth.allow_plaintext = true if that is meant"
    )]
    Plaintext {
        /// Where the listener is set.
        origin: Origin,
        /// The listener.
        listener: Box<Listener>,
    },
}

impl ConfigError {
    /// The line of the file that it is about; 0 when it is about something else.
    const fn line(&self) -> usize {
        let (Self::Unreadable { origin, .. }
        | Self::Syntax { origin, .. }
        | Self::Unknown { origin, .. }
        | Self::Value { origin, .. }
        | Self::Exposed { origin, .. }
        | Self::Plaintext { origin, .. }) = self;
        match origin {
            Origin::File(_, line) => *line,
            _ => 0,
        }
    }
}

/// Where a setting was given: a flag or variable of its own says which one it is.
fn place(origin: &Origin, key: &str) -> String {
    match origin {
        Origin::Environment(variable) => variable.clone(),
        Origin::Flag(name) if name != "--set" => name.clone(),
        _ => format!("{origin}: {key}"),
    }
}

fn did_you_mean(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `dunlin broker --print-config` lists all".to_owned(),
    }
}

/// A configuration that knows where each of its values comes from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The values in force.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
    /// Where each listener is set, if they have places of their own: in the file.
    listener_origins: Vec<Origin>,
    /// The keys of settings that were given a value of their own, not one that leaves the choice
    /// to the machine.
    fixed: BTreeSet<&'static str>,
}

impl LoadedConfig {
    /// Loads the configuration from `file`, or the one that `DUNLIN_CONFIG` names, under the
    /// environment and the flags.
    ///
    /// # Errors
    /// The operator's first mistake.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let (loaded, mistakes) = Self::load_all(file, environment, flags);
        loaded.unless(mistakes)
    }

    /// The values alone, with all that are no values of their settings; such a setting is as if it was
    /// not set. What does not go together [`LoadedConfig::compare`] tells.
    pub(crate) fn load_all(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> (Self, Vec<ConfigError>) {
        let named = match (file, environment.get(FILE_VARIABLE)) {
            (Some(path), _) => Some((path.to_owned(), Origin::Flag("--config".to_owned()))),
            (None, Some(path)) if !path.is_empty() => {
                Some((path.into(), Origin::Environment(FILE_VARIABLE.to_owned())))
            }
            _ => None,
        };
        let mut mistakes = Vec::new();
        let file = named.and_then(|(path, origin)| match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(reason) => {
                mistakes.push(ConfigError::Unreadable { origin, path, reason });
                None
            }
        });
        let file = file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
        let loaded = Self::put_together(file, environment, flags, &mut mistakes);
        (loaded, mistakes)
    }

    /// Puts the layers together: the file's name and text, the environment, and the flags. Only
    /// host names of listeners are looked up elsewhere.
    ///
    /// # Errors
    /// The operator's first mistake.
    pub fn from_layers(
        file: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        Self::put_together(file, environment, flags, &mut mistakes).unless(mistakes)
    }

    /// The operator's first mistake, or this.
    fn unless(self, mut mistakes: Vec<ConfigError>) -> Result<Self, ConfigError> {
        if mistakes.is_empty() {
            mistakes = self.compare();
        }
        mistakes.into_iter().next().map_or(Ok(self), Err)
    }

    fn put_together(
        file: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
        mistakes: &mut Vec<ConfigError>,
    ) -> Self {
        let mut loaded = Self {
            config: Config::default(),
            origins: BTreeMap::new(),
            listener_origins: Vec::new(),
            fixed: BTreeSet::new(),
        };
        if let Some((path, text)) = file {
            FileLayer { path, text }.apply(&mut loaded, mistakes);
        }
        loaded.apply_environment(environment, mistakes);
        loaded.apply_flags(flags, mistakes);
        loaded
    }

    /// Values that don't go together; one that is missing could be the cause.
    pub(crate) fn compare(&self) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        if let Some(listener) = self.config.exposed_listener() {
            let origin = self.origin_of(listener).clone();
            let listener = Box::new(listener.clone());
            mistakes.push(ConfigError::Exposed { origin, listener });
        }
        if let Some(listener) = self.config.plaintext_listener() {
            let origin = self.origin_of(listener).clone();
            let listener = Box::new(listener.clone());
            mistakes.push(ConfigError::Plaintext { origin, listener });
        }
        if let Some(listener) = self.config.closed_listener() {
            let (origin, key) = (self.origin("allow_anonymous").clone(), "allow_anonymous");
            let reason = format!(
                "false lets nobody in by {}; name the users in an auth.password_file, give the \
                 listener a client_ca, or leave it out",
                listener.url()
            );
            mistakes.push(ConfigError::Value { origin, key, reason });
        }
        if let Some((key, reason)) = self.config.auth.mistake() {
            // If the setting itself was left out, one of its table was not.
            let table = settings().map(|setting| setting.key);
            let table = table.filter(|other| table_of(other) == table_of(key));
            let mut origins = [key].into_iter().chain(table).map(|key| self.origin(key));
            let origin = origins.find(|origin| **origin != Origin::Default);
            let origin = origin.cloned().unwrap_or(Origin::Default);
            let reason = reason.to_owned();
            mistakes.push(ConfigError::Value { origin, key, reason });
        }
        if let Some(reason) = self.config.memory.mistake() {
            let (origin, key) = (self.origin("memory.max").clone(), "memory.max");
            mistakes.push(ConfigError::Value { origin, key, reason });
        }
        mistakes.extend(self.collisions());
        mistakes
    }

    /// Listeners that can't be open beside one before them.
    fn collisions(&self) -> Vec<ConfigError> {
        let listeners = &self.config.listeners;
        let mut mistakes = Vec::new();
        for (nth, listener) in listeners.iter().enumerate() {
            let mut before = listeners.iter().take(nth);
            let Some(first) = before.find(|first| first.collides_with(listener)) else { continue };
            let (origin, key) = (self.origin_of(listener).clone(), "listeners");
            let what = if listener.address().is_some() { "port" } else { "path" };
            let (second, first) = (listener.url(), first.url());
            let reason = format!(
                "{second} can't be opened beside {first}, as both would have the same address; give \
                 one of them another {what}"
            );
            mistakes.push(ConfigError::Value { origin, key, reason });
        }
        mistakes
    }

    /// Where the setting with this key was last set.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Where a listener of [`LoadedConfig::config`] is set.
    pub(crate) fn origin_of(&self, listener: &Listener) -> &Origin {
        let mut listeners = self.config.listeners.iter();
        let nth = listeners.position(|other| std::ptr::eq(other, listener));
        let own = nth.and_then(|nth| self.listener_origins.get(nth));
        own.unwrap_or_else(|| self.origin("listeners"))
    }

    /// What is allowed and surely not meant: each in a line.
    pub fn warnings(&self) -> Vec<String> {
        let Config { data, listeners, durability, .. } = &self.config;
        let by_listener = listeners.iter().find(|listener| listener.durability.is_some());
        let is_given = match self.origin("durability") {
            Origin::Default => false,
            // A file with all settings has it at its default.
            Origin::File(..) => durability.default != Config::default().durability.default,
            Origin::Environment(_) | Origin::Flag(_) => true,
        };
        let by_topic = !durability.topics.is_empty();
        let given = [
            is_given.then(|| ("durability", self.origin("durability"))),
            by_topic.then(|| ("durability_by_topic", self.origin("durability_by_topic"))),
            by_listener.map(|listener| ("listeners", self.origin_of(listener))),
        ];
        let given = given.into_iter().flatten().next().filter(|_| data.is_none());
        let warning = |(key, origin)| {
            let place = place(origin, key);
            format!("{place}: durability has no effect without a data folder (--data FOLDER)")
        };
        given.map(warning).into_iter().collect()
    }

    /// Whether the machine decides about this setting.
    pub(super) fn is_automatic(&self, setting: &Setting) -> bool {
        setting.automatic.is_some() && !self.fixed.contains(setting.key)
    }

    fn set(
        &mut self,
        setting: &'static Setting,
        origin: Origin,
        value: Result<Value, String>,
    ) -> Result<(), ConfigError> {
        match value {
            Ok(value) => {
                if setting.automatic.as_ref() == Some(&value) {
                    self.fixed.remove(setting.key);
                } else {
                    self.fixed.insert(setting.key);
                }
                if let Value::Listeners(_) = &value {
                    self.listener_origins.clear();
                }
                (setting.write)(&mut self.config, value);
                self.origins.insert(setting.key, origin);
                Ok(())
            }
            Err(reason) => Err(ConfigError::Value { origin, key: setting.key, reason }),
        }
    }

    fn apply_environment(
        &mut self,
        environment: &BTreeMap<String, String>,
        mistakes: &mut Vec<ConfigError>,
    ) {
        let known: BTreeMap<String, &'static Setting> =
            settings().map(|setting| (setting.environment_variable(), setting)).collect();
        for (variable, value) in environment {
            if !variable.starts_with(VARIABLE_PREFIX) || variable == FILE_VARIABLE {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            if let Some(setting) = known.get(variable) {
                // An empty variable is how scripts say "not set".
                if !value.is_empty() {
                    let read = setting.kind.read_text(value);
                    mistakes.extend(self.set(setting, origin, read).err());
                }
                continue;
            }
            // Others put variables with this prefix there too (service discovery by links does),
            // so only what looks like a slip of the pen is one.
            let nearest = nearest(variable, known.keys().map(String::as_str)).map(str::to_owned);
            let is_ours = OWN_PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
            if nearest.is_some() || is_ours {
                mistakes.push(ConfigError::Unknown { origin, key: variable.clone(), nearest });
            }
        }
    }

    fn apply_flags(&mut self, flags: &[Flag], mistakes: &mut Vec<ConfigError>) {
        let mut lists = BTreeMap::<_, String>::new();
        for flag in flags {
            let origin = Origin::Flag(flag.name.clone());
            let Some(setting) = settings().find(|setting| setting.key == flag.key) else {
                mistakes.push(unknown(origin, flag.key.clone()));
                continue;
            };
            let value = match setting.kind {
                // Given again, a flag adds to a list.
                Kind::Listeners | Kind::TopicDurability | Kind::List { .. } => {
                    let list = lists.entry((&flag.name, setting.key)).or_default();
                    list.push_str(&flag.value);
                    list.push(',');
                    setting.kind.read_text(list)
                }
                kind => kind.read_text(&flag.value),
            };
            mistakes.extend(self.set(setting, origin, value).err());
        }
    }
}

/// The configuration file.
struct FileLayer<'a> {
    path: &'a Path,
    text: &'a str,
}

impl FileLayer<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File(self.path.to_owned(), before.matches('\n').count() + 1)
    }

    fn apply(&self, loaded: &mut LoadedConfig, mistakes: &mut Vec<ConfigError>) {
        let document = match DeTable::parse(self.text) {
            Ok(document) => document,
            Err(error) => {
                let origin = self.origin(&error.span().unwrap_or(0..0));
                let message = error.message().trim().replace('\n', "; ");
                return mistakes.push(ConfigError::Syntax { origin, message });
            }
        };
        let mut own = Vec::new();
        self.apply_table(document.get_ref(), "", loaded, &mut own);
        // The table is sorted by name; the operator reads from the top.
        own.sort_by_key(ConfigError::line);
        mistakes.append(&mut own);
    }

    fn apply_table(
        &self,
        table: &DeTable<'_>,
        prefix: &str,
        loaded: &mut LoadedConfig,
        mistakes: &mut Vec<ConfigError>,
    ) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let origin = self.origin(&name.span());
            if let Some(setting) = settings().find(|setting| setting.key == key) {
                let mut listener_origins = Vec::new();
                let read = match (setting.kind, value.get_ref()) {
                    (Kind::Listeners, DeValue::Array(items)) => {
                        let listeners = items.iter().map(|item| self.listener(item));
                        gathered(listeners, mistakes).map(|listeners| {
                            let (listeners, origins) = listeners.into_iter().unzip();
                            listener_origins = origins;
                            setting.kind.check_listeners(listeners)
                        })
                    }
                    (Kind::TopicDurability, DeValue::Array(items)) => {
                        let rules = items.iter().map(|item| self.topic_rule(setting.key, item));
                        gathered(rules, mistakes).map(|rules| Ok(Value::TopicDurability(rules)))
                    }
                    (kind, value) => Some(kind.read_toml(value)),
                };
                match read.map(|read| loaded.set(setting, origin, read)) {
                    Some(Ok(())) if setting.key == "listeners" => {
                        loaded.listener_origins = listener_origins;
                    }
                    set => mistakes.extend(set.and_then(Result::err)),
                }
                continue;
            }
            let table_prefix = format!("{key}.");
            match value.get_ref() {
                DeValue::Table(inner) if settings().any(|s| s.key.starts_with(&table_prefix)) => {
                    self.apply_table(inner, &table_prefix, loaded, mistakes);
                }
                DeValue::Table(_) => {
                    let nearest = nearest(&key, settings().map(|setting| table_of(setting.key)));
                    let nearest = nearest.map(str::to_owned);
                    mistakes.push(ConfigError::Unknown { origin, key, nearest });
                }
                _ => mistakes.push(unknown(origin, key)),
            }
        }
    }

    fn topic_rule(
        &self,
        key: &'static str,
        item: &Spanned<DeValue<'_>>,
    ) -> Result<(TopicFilter, Durability), ConfigError> {
        // A table of its own has no place but those of its keys.
        let mut span = item.span();
        if let DeValue::Table(table) = item.get_ref() {
            const NAMES: [&str; 2] = ["topic_filter", "durability"];
            let mut names: Vec<_> = table.keys().collect();
            names.sort_by_key(|name| name.span().start);
            span = names.first().map_or(span, |name| name.span());
            if let Some(name) =
                names.into_iter().find(|name| !NAMES.contains(&name.get_ref().as_ref()))
            {
                let origin = self.origin(&name.span());
                let key = name.get_ref().to_string();
                let nearest = nearest(&key, NAMES).map(str::to_owned);
                return Err(ConfigError::Unknown { origin, key, nearest });
            }
        }
        let wrong = |reason| ConfigError::Value { origin: self.origin(&span), key, reason };
        let text = |name| match item.get_ref() {
            DeValue::Table(table) => match table.get(name).map(Spanned::get_ref) {
                Some(DeValue::String(text)) if table.len() == 2 => Some(text),
                _ => None,
            },
            _ => None,
        };
        let (Some(topic_filter), Some(level)) = (text("topic_filter"), text("durability")) else {
            let expected = "expected { topic_filter = \"telemetry/#\", durability = \"written\" }";
            return Err(wrong(expected.to_owned()));
        };
        topic_rule(topic_filter, level).map_err(wrong)
    }

    /// A listener, and where its URL stands.
    fn listener(&self, item: &Spanned<DeValue<'_>>) -> Result<(Listener, Origin), ConfigError> {
        let wrong =
            |origin, reason: String| ConfigError::Value { origin, key: "listeners", reason };
        let mut url = None;
        let mut options = Vec::new();
        match item.get_ref() {
            DeValue::String(text) => url = Some((text.as_ref(), item.span())),
            DeValue::Table(table) => {
                for (name, value) in table {
                    let origin = self.origin(&name.span());
                    let name = name.get_ref().as_ref();
                    if name != "url" && !Listener::OPTIONS.contains(&name) {
                        let known = Listener::OPTIONS.into_iter().chain(["url"]);
                        let nearest = nearest(name, known).unwrap_or("url").to_owned();
                        let (key, nearest) = (name.to_owned(), Some(nearest));
                        return Err(ConfigError::Unknown { origin, key, nearest });
                    }
                    let DeValue::String(text) = value.get_ref() else {
                        return Err(wrong(origin, format!("{name} must be a string")));
                    };
                    match name {
                        "url" => url = Some((text.as_ref(), value.span())),
                        _ => options.push((name, text.as_ref())),
                    }
                }
            }
            _ => {}
        }
        let Some((url, span)) = url else {
            let reason = "expected { url = \"mqtt://ADDRESS:PORT\" }".to_owned();
            return Err(wrong(self.origin(&item.span()), reason));
        };
        let origin = self.origin(&span);
        match Listener::parse(url, options) {
            Ok(listener) => Ok((listener, origin)),
            Err(error) => Err(wrong(origin, error.to_string())),
        }
    }
}

/// All items, unless one has a mistake.
fn gathered<T>(
    items: impl Iterator<Item = Result<T, ConfigError>>,
    mistakes: &mut Vec<ConfigError>,
) -> Option<Vec<T>> {
    let before = mistakes.len();
    let good = items.filter_map(|item| item.map_err(|error| mistakes.push(error)).ok()).collect();
    (mistakes.len() == before).then_some(good)
}

fn unknown(origin: Origin, key: String) -> ConfigError {
    // A limit that was put outside its table is as likely as a mistyped name.
    let elsewhere = settings().find(|setting| setting.name() == key).map(|setting| setting.key);
    let nearest = elsewhere.or_else(|| nearest(&key, settings().map(|setting| setting.key)));
    let nearest = nearest.map(str::to_owned);
    ConfigError::Unknown { origin, key, nearest }
}
