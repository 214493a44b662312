//! Looks at the files that a configuration names as a start would, and starts nothing.

use crate::auth::{BackEnd, read_keys, read_passwords};
use crate::config::{ConfigError, Endpoint, Flag, LoadedConfig};
use crate::front::date_warnings;
use crate::net::{look_at_address, look_at_file};
use crate::rights;
use crate::server::StartError;
use dunlin_transport::tls::{ALPN_HTTP, ALPN_MQTT};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// What a look at a configuration and its files has come to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The configuration; while there are mistakes, it lacks what they are about.
    pub loaded: LoadedConfig,
    /// The operator's mistakes, of which each keeps a broker from starting.
    pub mistakes: Vec<ConfigError>,
    /// What a broker starts with and warns of, each in a line.
    pub warnings: Vec<String>,
}

impl LoadedConfig {
    /// Loads a configuration as [`LoadedConfig::load`] does, and reads all files that a broker would
    /// read at its start but for the data folder: users, keys, secrets, rules, certificates. Gives all
    /// the operator's mistakes that can be told beside each other: of each the setting and where that is
    /// set, the file, what is wrong with it, and the mend. Nothing is changed, and nothing is opened
    /// that a running broker could have open. Whoever asks should be whom the broker runs as.
    pub fn check(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> Checked {
        let (loaded, mistakes) = Self::load_all(file, environment, flags);
        let warnings = Vec::new();
        let mut checked = Checked { loaded, mistakes, warnings };
        // The rest may be wrong only because a value is missing.
        if checked.mistakes.is_empty() {
            checked.mistakes = checked.loaded.compare();
            checked.warnings = checked.loaded.warnings();
            checked.look_at_files();
            checked.look_at_listeners();
        }
        checked
    }
}

impl Checked {
    /// Binds the addresses of the listeners and lets go of them at once, and warns of those that can't be
    /// had: whoever has one may have ended when a broker starts. So it is for when none runs that is to
    /// take up this configuration; one that starts in this very moment may find an address of QUIC taken.
    pub fn look_at_addresses(&mut self) {
        for listener in &self.loaded.config.listeners {
            let Endpoint::Address(address) = listener.endpoint else { continue };
            let Err(error) = look_at_address(address, listener.is_quic) else { continue };
            let reason = match error.kind() {
                ErrorKind::AddrInUse => {
                    let url = listener.url();
                    format!("{url} is taken; no broker can start there until who has it has ended")
                }
                _ => StartError::listen(listener, error).to_string(),
            };
            let origin = self.loaded.origin_of(listener).clone();
            let warning = ConfigError::Value { origin, key: "listeners", reason };
            self.warnings.push(warning.to_string());
        }
    }

    /// Reads the files that settings name.
    fn look_at_files(&mut self) {
        let (loaded, mistakes) = (&self.loaded, &mut self.mistakes);
        let config = &loaded.config;
        let wrong = |key, error: &dyn ToString| {
            let (origin, reason) = (loaded.origin(key).clone(), error.to_string());
            ConfigError::Value { origin, key, reason }
        };
        if let Err(error) = read_passwords(config) {
            mistakes.push(wrong("auth.password_file", &error));
        }
        if let Some(path) = &config.auth.jwt.key_file
            && let Err(error) = read_keys(path, &config.auth.jwt.algorithms)
        {
            mistakes.push(wrong("auth.jwt.key_file", &error));
        }
        if let Err(error) = BackEnd::read(&config.auth.http) {
            mistakes.push(wrong(error.key, &error.fault()));
        }
        if let Some(path) = &config.rights.file {
            match rights::read(path) {
                Ok(rules) => self.warnings.extend(rules.check_whole(None).err().map(|doubt| {
                    let doubt = format!("{}: {doubt}", path.display());
                    wrong("rights.file", &doubt).to_string()
                })),
                Err(error) => mistakes.push(wrong("rights.file", &error)),
            }
        }
    }

    /// Reads the certificates of listeners, and looks at the places of their sockets.
    fn look_at_listeners(&mut self) {
        for listener in &self.loaded.config.listeners {
            let told = |reason| {
                let origin = self.loaded.origin_of(listener).clone();
                ConfigError::Value { origin, key: "listeners", reason }
            };
            if let Endpoint::Socket(file) = &listener.endpoint
                && let Err(error) = look_at_file(file)
            {
                self.mistakes.push(told(StartError::listen(listener, error).to_string()));
            }
            let Some(files) = &listener.tls else { continue };
            let is_web = listener.web_socket.is_some();
            let url = listener.url();
            match files.load(if is_web { ALPN_HTTP } else { ALPN_MQTT }) {
                Ok(tls) => {
                    let warnings = date_warnings(&tls).into_iter();
                    let warnings =
                        warnings.map(|words| told(format!("{url}: {words}")).to_string());
                    self.warnings.extend(warnings);
                }
                Err(error) => self.mistakes.push(told(format!("{url}: {error}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    fn write(folder: &TempDir, name: &str, text: &str) {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's");
    }

    /// What is said of a configuration whose files are in a folder, without the folder's name.
    fn checked(folder: &TempDir, text: &str) -> Vec<String> {
        let (mistakes, warnings) = looked_at(folder, text);
        assert_eq!(warnings, [""; 0], "{text}");
        mistakes
    }

    /// The same with warnings.
    fn looked_at(folder: &TempDir, text: &str) -> (Vec<String>, Vec<String>) {
        write(folder, "d.toml", &text.replace('@', &folder.path().display().to_string()));
        let file = folder.path().join("d.toml");
        let Checked { mistakes, warnings, .. } =
            LoadedConfig::check(Some(&file), &BTreeMap::new(), &[]);
        let folder = folder.path().display().to_string();
        let without = |line: String| {
            let line = line.replace(&format!("{folder}/d.toml"), "d.toml");
            line.replace(&folder, "@")
        };
        let mistakes = mistakes.iter().map(|error| without(error.to_string())).collect();
        (mistakes, warnings.into_iter().map(without).collect())
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named_with_its_place() {
        let folder = TempDir::new().expect("a folder");
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        write(&folder, "certificate", &own.cert.pem());
        write(&folder, "key", &own.signing_key.serialize_pem());
        write(&folder, "other-key", &other.signing_key.serialize_pem());
        write(&folder, "public", &own.signing_key.public_key_pem());
        write(&folder, "rules", "[[rule]]\nallow = ['publish']\ntopics = ['a']\n");
        write(&folder, "secret", "sesame\n");
        write(&folder, "empty", "");
        let tls = "listeners = ['mqtts://127.0.0.1?certificate=@/certificate&key=@/key']";
        let jwt = "[auth.jwt]\nalgorithms = ['ES256']\nkey_file = '@/public'";
        let http = "[auth.http]\nurl = 'https://a'\nca_file = '@/certificate'\n\
                    bearer_file = '@/secret'";
        let all = format!("{tls}\n[rights]\nfile = '@/rules'\n{jwt}\n{http}\n");
        assert_eq!(checked(&folder, &all), [""; 0]);
        let users = "[auth]\npassword_file = '@/missing'";
        for (text, message) in [
            (users.to_owned(), "d.toml:2: auth.password_file: @/missing: No such file"),
            (
                users.replace("missing", "empty"),
                "d.toml:2: auth.password_file: @/empty: no user is in it",
            ),
            (
                all.replace("@/public", "@/missing"),
                "d.toml:6: auth.jwt.key_file: @/missing: No such file",
            ),
            (
                all.replace("@/secret", "@/empty"),
                "d.toml:10: auth.http.bearer_file: @/empty: expected one line",
            ),
            (
                all.replace("ca_file = '@/certificate'", "ca_file = '@/empty'"),
                "d.toml:9: auth.http.ca_file: @/empty: there is no certificate",
            ),
            (all.replace("@/rules", "@/secret"), "d.toml:3: rights.file: @/secret:"),
            (
                all.replace("key=@/key", "key=@/other-key"),
                "d.toml:1: listeners: mqtts://127.0.0.1:8883: @/other-key: ",
            ),
            (
                all.replace("key=@/key", "key=@/missing"),
                "d.toml:1: listeners: mqtts://127.0.0.1:8883: @/missing: it can't be read",
            ),
            (
                all.replace("&key=@/key", "&key=@/key&client_ca=@/empty"),
                "d.toml:1: listeners: mqtts://127.0.0.1:8883: @/empty: there is no certificate",
            ),
            (
                all.replace("&key=@/key", "&key=@/key&client_ca=@/certificate&client_crl=@/secret"),
                "d.toml:1: listeners: mqtts://127.0.0.1:8883: @/secret: there is no revocation list",
            ),
        ] {
            let [told] = &checked(&folder, &text)[..] else { panic!("one is of no use") };
            assert!(told.starts_with(message), "{message}\n{told}");
            assert!(!told.contains('\n'), "{told}");
        }
        // Which of several listeners it is.
        let second = "[[listeners]]\nurl = 'mqtt://127.0.0.1:1'\n[[listeners]]\n\
                      url = 'mqtts://127.0.0.1'\ncertificate = '@/certificate'\nkey = '@/missing'";
        let [told] = &checked(&folder, second)[..] else { panic!("one is of no use") };
        assert!(
            told.starts_with("d.toml:4: listeners: mqtts://127.0.0.1:8883: @/missing"),
            "{told}"
        );
        let text = format!("{all}[auth]\npassword_file = '@/missing'\n");
        let text = text.replace("@/public", "@/missing").replace("@/rules", "@/secret");
        let text = text.replace("@/certificate&", "@/missing&");
        let told = checked(&folder, &text);
        let keys = ["auth.password_file", "auth.jwt.key_file", "rights.file", "listeners"];
        assert_eq!(told.len(), keys.len(), "{told:?}");
        for (told, key) in told.iter().zip(keys) {
            assert!(told.contains(&format!(": {key}: ")), "{key}: {told}");
        }
    }

    #[test]
    fn what_a_start_refuses_of_places_and_sizes_is_told() {
        let folder = TempDir::new().expect("a folder");
        write(&folder, "file", "");
        let socket = "listeners = ['unix://@/SOCKET']";
        for (text, start, end) in [
            (
                socket.replace("SOCKET", "missing/d.sock"),
                "d.toml:1: listeners: unix://@/missing/d.sock can't be opened: ",
                "; there is no such folder: make it, or choose another one",
            ),
            (
                socket.replace("SOCKET", "file/d.sock"),
                "d.toml:1: listeners: unix://@/file/d.sock can't be opened: ",
                "; a file is in the place of its folder: choose another one",
            ),
            (
                socket.replace("SOCKET", "file"),
                "d.toml:1: listeners: unix://@/file can't be opened: ",
                "the file is no socket: choose another one",
            ),
            (
                "listeners = ['unix://@/d.sock',\n'unix://@/d.sock?mode=0660']".to_owned(),
                "d.toml:2: listeners: unix://@/d.sock can't be opened beside unix://@/d.sock",
                "; give one of them another path",
            ),
            (
                "listeners = ['mqtt://127.0.0.1:7',\n'ws://127.0.0.1:7']".to_owned(),
                "d.toml:2: listeners: ws://127.0.0.1:7 can't be opened beside mqtt://127.0.0.1:7",
                "; give one of them another port",
            ),
            (
                "[memory]\nmax = 4".to_owned(),
                "d.toml:2: memory.max: 4 bytes are less than a broker needs for itself",
                "; or 0 for any amount",
            ),
        ] {
            let [told] = &checked(&folder, &text)[..] else { panic!("{text}: one mistake") };
            assert!(told.starts_with(start) && told.ends_with(end), "{told}");
        }
        let names = || fs::read_dir(folder.path()).expect("a folder").count();
        let before = names();
        assert_eq!(checked(&folder, &socket.replace("SOCKET", "d.sock")), [""; 0]);
        assert_eq!(names(), before, "nothing is made");
    }

    #[test]
    fn a_certificate_that_has_ended_is_warned_of() {
        let folder = TempDir::new().expect("a folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        write(&folder, "certificate", &certificate.pem());
        write(&folder, "key", &key.serialize_pem());
        let text = "listeners = ['mqtts://127.0.0.1?certificate=@/certificate&key=@/key']";
        let (mistakes, warnings) = looked_at(&folder, text);
        assert_eq!(mistakes, [""; 0]);
        let [told] = &warnings[..] else { panic!("one warning: {warnings:?}") };
        let expected = "d.toml:1: listeners: mqtts://127.0.0.1:8883: @/certificate: a certificate \
                        has ended at Jan  1 00:00:00 2020";
        assert!(told.starts_with(expected), "{told}");
    }
}
