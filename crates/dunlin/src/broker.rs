//! `dunlin broker`: the broker in the foreground.

use crate::failure::{Failure, causes};
use crate::output::print;
use clap::{Args, ValueEnum};
use dunlin_broker::config::{self, Config, ConfigError, Flag, Listener, LoadedConfig};
use dunlin_broker::core::Durability;
use dunlin_broker::{Broker, Checked, StartError};
use dunlin_store::{FileStorage, OpenError};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Signals this close to the first one are the same wish: `timeout` signals the program and its
/// process group, and a terminal and a supervisor may both pass one on.
const SAME_WISH: Duration = Duration::from_secs(1);

/// What each flag of the broker sets; flags win over environment over file.
#[derive(Debug, Args)]
#[command(after_help = crate::failure::EXIT_CODES, after_long_help = after_long_help())]
pub(crate) struct BrokerArgs {
    /// Listen here; repeat for more. The scheme names the transport [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "mqtt://ADDR:PORT")]
    listen: Vec<String>,
    /// Let clients connect without credentials, from wherever they reach a listener
    #[arg(long)]
    allow_anonymous: bool,
    /// Worker threads; 0 is one for each core
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Keep sessions, subscriptions and messages in this folder; without one they live in memory
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// What an acknowledgement means with a data folder: memory, written or fsync [default: fsync]
    #[arg(long, value_name = "LEVEL")]
    durability: Option<String>,
    /// Read settings from this TOML file (or the one that DUNLIN_CONFIG names)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log to standard error: warn, info, info,dunlin_broker=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Set any other setting; repeat for more: --set limits.packet_size_max=1MiB
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Check the configuration and the files and folders that it names, print it with where each
    /// value comes from, and exit; changes nothing, and may be done beside a broker that runs
    #[arg(long)]
    check: bool,
    /// Print a configuration file with every setting, explained, at its default, and exit;
    /// or all that as a page to read
    #[arg(
        long,
        value_name = "AS",
        conflicts_with = "check",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "toml"
    )]
    print_config: Option<Printed>,
}

/// How settings are explained.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Printed {
    /// A configuration file
    Toml,
    /// Markdown
    Page,
}

fn after_long_help() -> String {
    let mut text = String::from(
        "Settings, for the file (limits.x is x in the table [limits]), --set, and the \
         environment (DUNLIN_LIMITS_X):\n",
    );
    for setting in config::settings() {
        let documentation = setting.documentation();
        let ends = [". ", "; ", ": "].iter().filter_map(|end| documentation.find(end));
        let first = &documentation[..ends.min().unwrap_or(documentation.len())];
        let first = first.trim_end_matches('.');
        text.push_str(&format!("  {}\n          {first}\n", setting.key));
    }
    text.push_str("\n--print-config explains them all.\n\n");
    text.push_str(
        "Examples:\n  dunlin broker --listen mqtt://127.0.0.1:1884 --workers 2\n  \
         dunlin broker --config /etc/dunlin.toml --check\n\n",
    );
    text.push_str(crate::failure::EXIT_CODES);
    text
}

impl BrokerArgs {
    /// Runs the broker until a signal stops it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.print_config {
            Some(Printed::Toml) => return print(&config::reference()),
            Some(Printed::Page) => return print(&config::reference_page()),
            None => {}
        }
        let (file, environment, flags) = (self.config.as_deref(), environment(), self.flags()?);
        if self.check {
            return check(LoadedConfig::check(file, &environment, &flags));
        }
        let loaded =
            LoadedConfig::load(file, &environment, &flags).map_err(|mistake| wrong(&mistake))?;
        let filter = log_filter(&loaded).map_err(|mistake| wrong(&mistake))?;
        warn(&loaded.warnings());
        start_logging(filter);
        serve(loaded.config)
    }

    /// The settings that were given as flags.
    fn flags(&self) -> Result<Vec<Flag>, Failure> {
        let mut flags = Vec::new();
        let mut flag = |name: &str, key: &str, value: String| {
            flags.push(Flag { name: name.to_owned(), key: key.to_owned(), value });
        };
        for given in &self.set {
            let Some((key, value)) = given.split_once('=') else {
                return Err(Failure::usage(format!("--set {given}: write it as KEY=VALUE")));
            };
            flag("--set", key.trim(), value.to_owned());
        }
        if !self.listen.is_empty() {
            flag("--listen", "listeners", self.listen.join(","));
        }
        if self.allow_anonymous {
            flag("--allow-anonymous", "allow_anonymous", "true".to_owned());
        }
        let named = [
            ("workers", &self.workers),
            ("data", &self.data),
            ("durability", &self.durability),
            ("log", &self.log),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                flag(&format!("--{key}"), key, value.clone());
            }
        }
        Ok(flags)
    }
}

/// The variables that may be meant for the broker.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name.starts_with("DUNLIN_"))
        .collect()
}

/// Shows a configuration, or all mistakes of it.
fn check(mut checked: Checked) -> Result<(), Failure> {
    checked.mistakes.extend(log_filter(&checked.loaded).err());
    let mut runs = false;
    if let Some(folder) = &checked.loaded.config.data {
        let told = |reason| {
            let (origin, key) = (checked.loaded.origin("data").clone(), "data");
            ConfigError::Value { origin, key, reason }
        };
        match dunlin_store::look(folder) {
            Ok(()) => {}
            // It may well be the broker that is to take up this configuration.
            Err(OpenError::InUse { user, .. }) => {
                let folder = folder.display();
                let reason =
                    format!("{folder} is in use by {user}; no other broker can start there");
                checked.warnings.push(told(reason).to_string());
                runs = true;
            }
            Err(error) => checked.mistakes.push(told(causes(&error))),
        }
    }
    if checked.mistakes.is_empty() {
        // Who has the folder has the addresses, too.
        if !runs {
            checked.look_at_addresses();
        }
        warn(&checked.warnings);
        return print(&checked.loaded.to_toml());
    }
    // Each in a line of its own, which begins like the first.
    let mistakes: Vec<String> = checked.mistakes.iter().map(ConfigError::to_string).collect();
    Err(Failure::usage(mistakes.join("\nerror: ")))
}

fn wrong(mistake: &ConfigError) -> Failure {
    Failure::usage(mistake.to_string())
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// What may stand behind a target, or for all of them.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The part of a filter that is neither a level nor a target with one. The library takes a word
/// alone for a target, so that a misspelt level would silence all others.
fn misspelt_level(filter: &str) -> Option<&str> {
    // Spans have syntax of their own.
    let parts = filter.split(',').filter(|part| !part.contains(['[', ']', '{', '}']));
    let levels = parts.map(|part| part.rsplit_once('=').map_or(part, |(_, level)| level).trim());
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_number = |word: &str| matches!(word.as_bytes(), [b'0'..=b'5']);
    let mut words = levels.filter(|word| !word.is_empty());
    words.find(|word| !is_level(word) && !is_number(word))
}

fn log_filter(loaded: &LoadedConfig) -> Result<EnvFilter, ConfigError> {
    let filter = &loaded.config.log;
    let of_requests = |part: &&str| part.trim_start().starts_with("ureq");
    if let Some(part) = filter.split(',').find(of_requests) {
        let origin = loaded.origin("log").clone();
        let reason = format!(
            "{part:?} would write the secret of auth.http.bearer_file into the log; leave it away"
        );
        return Err(ConfigError::Value { origin, key: "log", reason });
    }
    // What the store's engine does is its own affair, unless somebody asks for it.
    // A block that can't be read is told of once by the store, and many times by lsm_tree.
    // What goes out to a back end of logins is nobody's to read, whatever is asked for.
    let quiet = format!("fjall=warn,lsm_tree=off,{filter},ureq=off,ureq_proto=off");
    let parsed = match misspelt_level(filter) {
        Some(word) => Err(format!("{word:?} is no level; the levels are {}", LEVELS.join(", "))),
        None => EnvFilter::try_new(filter)
            .and_then(|_| EnvFilter::try_new(quiet))
            .map_err(|error| error.to_string()),
    };
    parsed.map_err(|error| {
        let origin = loaded.origin("log").clone();
        let reason = format!(
            "{filter:?} is no filter like \"info\" or \"warn,dunlin_broker=debug\": {error}"
        );
        ConfigError::Value { origin, key: "log", reason }
    })
}

/// Small pages: with huge ones each kind of allocation rounds up to 2 MiB, which costs a small
/// broker more memory than its clients do. Without effect the broker is only larger.
#[cfg(target_os = "linux")]
fn prefer_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
const fn prefer_small_pages() {}

/// Runs the broker until a signal stops it; a later signal ends the program at once.
fn serve(config: Config) -> Result<(), Failure> {
    prefer_small_pages();
    let allows_anonymous = config.allows_anonymous();
    // Signals are caught from here on, so that none comes too early.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("can't start: {error}")))?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new().map_err(|error| Failure::new(format!("can't start: {error}")))?
    };
    let mut builder = Broker::builder();
    let mut state =
        "state lives in memory and ends with the broker; --data FOLDER keeps it".to_owned();
    let mut ending = None;
    if let Some(folder) = &config.data {
        let options = match config.memory.max {
            0 => dunlin_store::Options::default(),
            max => dunlin_store::Options::within(max as u64),
        };
        let storage = FileStorage::open(folder, options);
        let storage = storage.map_err(|error| Failure::of(&error))?;
        let is_new = if storage.is_new() { ", which begins empty" } else { "" };
        let (folder, levels) = (folder.display(), levels(&config));
        state = format!("state is kept in {folder}{is_new} (durability {levels})");
        ending = Some(storage.ending());
        builder = builder.storage(storage);
    }
    let builder = builder.config(config).give_back(crate::allocator::give_back);
    let broker = builder.start().map_err(|error| start_failure(&error))?;
    announce(&broker, allows_anonymous, &state)?;
    runtime.block_on(async {
        while let Wish::Reload = signals.any().await {
            // What it has come to is in the log.
            let _ = broker.reload();
        }
        let stopping = tokio::task::spawn_blocking(move || broker.stop());
        tokio::select! {
            stopped = stopping => stopped.map_err(|_| Failure::new("stopping failed")),
            () = signals.insisting() => {
                eprintln!("stopped at once");
                std::process::exit(1);
            }
        }
    })?;
    match ending.map_or(0, |ending| ending.lost()) {
        0 => Ok(()),
        _ => Err(Failure::new("stopped while the disk failed: what waited for it is lost")),
    }
}

/// The wishes to stop, Ctrl-C (SIGINT) and SIGTERM, and to read files again, SIGHUP.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// What a signal wishes.
enum Wish {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate, hangup: signal(SignalKind::hangup())? })
    }

    /// The next wish, whichever it is.
    async fn any(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    /// The next wish to stop.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Completes with a signal that isn't the echo of one that was just received.
    async fn insisting(&mut self) {
        let first = tokio::time::Instant::now();
        self.next().await;
        while first.elapsed() < SAME_WISH {
            self.next().await;
        }
    }
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Exposed { .. }
        | StartError::NobodyAllowed(_)
        | StartError::Plaintext(_)
        | StartError::PasswordFile(_)
        | StartError::KeyFile(_)
        | StartError::HttpFile(_)
        | StartError::RightsFile(_)
        | StartError::Tls { .. } => Failure::usage(error.to_string()),
        // Its cause is in its words, before what may help.
        StartError::Listen { .. } => Failure::new(error.to_string()),
        _ => Failure::of(error),
    }
}

/// What an acknowledgement means, and whether that is all that there is to know.
fn levels(config: &Config) -> String {
    let default = config.durability.default;
    let differs = |level: Durability| level != default;
    let by_listener = config.listeners.iter().filter_map(|listener| listener.durability);
    let by_topic = config.durability.topics.iter().map(|(_, level)| *level);
    let elsewhere = match (by_listener.into_iter().any(differs), by_topic.into_iter().any(differs))
    {
        (false, false) => "",
        (true, false) => ", another for some listeners",
        (false, true) => ", another for some Topic Names",
        (true, true) => ", another for some listeners and Topic Names",
    };
    format!("{}{elsewhere}", default.name())
}

/// Tells what runs and how to stop it; scripts wait for these lines.
fn announce(broker: &Broker, allows_anonymous: bool, state: &str) -> Result<(), Failure> {
    let mut text = format!("dunlin {}\n", env!("CARGO_PKG_VERSION"));
    for listener in broker.listeners() {
        text.push_str(&format!("listening on {}\n", listener.url()));
    }
    let workers = broker.workers();
    text.push_str(&format!("{workers} worker{}\n", if workers == 1 { "" } else { "s" }));
    text.push_str(&format!("{state}\n"));
    let is_exposed = broker.listeners().iter().any(Listener::is_exposed);
    let knows_all = broker.listeners().iter().all(Listener::knows_its_clients);
    text.push_str(match (allows_anonymous, is_exposed) {
        (true, _) if knows_all => "clients need certificates\n",
        (true, true) => {
            "clients need no credentials: whoever reaches these addresses may connect\n"
        }
        (true, false) => "clients need no credentials: programs on this machine may connect\n",
        (false, _) => "clients need credentials\n",
    });
    text.push_str("stop with Ctrl-C\n");
    print(&text)?;
    io::stdout().flush().map_err(|error| Failure::new(format!("standard output: {error}")))
}

fn start_logging(filter: EnvFilter) {
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(color)
        .init();
}
