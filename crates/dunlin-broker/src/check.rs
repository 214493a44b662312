//! Looks at the files that a configuration names as a start would, and starts nothing.

use crate::auth::{BackEnd, read_keys, read_passwords};
use crate::config::{ConfigError, Flag, LoadedConfig};
use crate::rights;
use dunlin_transport::tls::{ALPN_HTTP, ALPN_MQTT};
use std::collections::BTreeMap;
use std::path::Path;

impl LoadedConfig {
    /// Loads a configuration as [`LoadedConfig::load`] does, and looks at its files as
    /// [`LoadedConfig::check_files`] does, with all the operator's mistakes that can be told beside
    /// each other. While there are any, what was loaded lacks what they are about.
    pub fn check(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> (Self, Vec<ConfigError>) {
        let (loaded, mut mistakes) = Self::load_all(file, environment, flags);
        // The rest may be wrong only because a value is missing.
        if mistakes.is_empty() {
            mistakes = loaded.compare();
            mistakes.extend(loaded.check_files());
        }
        (loaded, mistakes)
    }

    /// Reads all files that a broker would read at its start but for the data folder: users, keys,
    /// secrets, rules, certificates. Whoever asks should be whom the broker runs as.
    ///
    /// Gives those that are of no use: of each the setting that names it and where that is set, the
    /// file, what is wrong with it, and the mend.
    pub fn check_files(&self) -> Vec<ConfigError> {
        let config = &self.config;
        let mut mistakes = Vec::new();
        let wrong = |key, error: &dyn ToString| {
            let (origin, reason) = (self.origin(key).clone(), error.to_string());
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
        if let Some(path) = &config.rights.file
            && let Err(error) = rights::read(path)
        {
            mistakes.push(wrong("rights.file", &error));
        }
        for listener in &config.listeners {
            let Some(files) = &listener.tls else { continue };
            let is_web = listener.web_socket.is_some();
            if let Err(error) = files.load(if is_web { ALPN_HTTP } else { ALPN_MQTT }) {
                let reason = format!("{}: {error}", listener.url());
                let origin = self.origin_of(listener).clone();
                mistakes.push(ConfigError::Value { origin, key: "listeners", reason });
            }
        }
        mistakes
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
        let folder = folder.path().display().to_string();
        let text = text.replace('@', &folder);
        let loaded =
            LoadedConfig::from_layers(Some((Path::new("d.toml"), &text)), &BTreeMap::new(), &[]);
        let loaded = loaded.expect("legal");
        let mistakes = loaded.check_files();
        mistakes.iter().map(|error| error.to_string().replace(&folder, "@")).collect()
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
}
